"""JSON Schemas of ours in a few words, as the tables of the page have them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from typing import Any

from edge.openapi_payloads import MESSAGE_KEYWORD

Schema = Mapping[str, Any]


def is_shown_apart(schema: Schema) -> bool:
    """Whether a schema has something to show beside its name."""
    return bool(schema.get("properties") or schema.get("enum") or MESSAGE_KEYWORD in schema)


def type_text(schema: Schema) -> str:
    """What values a schema takes, as HTML: type, format and bounds; links to the types of the page."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f'<a href="#type-{name}">{escape(name)}</a>'
    if "anyOf" in schema:
        return " or ".join(type_text(part) for part in schema["anyOf"])
    if "const" in schema:
        constant = schema["const"]
        return f"<code>{escape(constant if isinstance(constant, str) else json.dumps(constant))}</code>"
    if "contentSchema" in schema:
        return f'string <span class="quiet">base64</span>, holds {type_text(schema["contentSchema"])}'
    kinds = schema.get("type", "any")
    kinds = [kinds] if isinstance(kinds, str) else kinds
    return " or ".join(_kind_text(kind, schema) for kind in kinds)


def _kind_text(kind: str, schema: Schema) -> str:
    if kind == "array":
        return f"array of {type_text(schema['items'])}"
    if kind == "object":
        values = schema.get("additionalProperties")
        return f"object of {type_text(values)}" if isinstance(values, Mapping) else "object"
    if kind == "string":
        if "enum" in schema:
            return " or ".join(f"<code>{escape(value)}</code>" for value in schema["enum"] if value)
        return " ".join(["string", *_string_bounds(schema)])
    if kind == "integer":
        return " ".join(["integer", *_integer_bounds(schema)])
    return kind


def _string_bounds(schema: Schema) -> list[str]:
    """The format, or else lengths and pattern."""
    if "format" in schema:
        return [f'<span class="quiet">{escape(schema["format"])}</span>']
    bounds = []
    if "maxLength" in schema:
        bounds.append(f'<span class="quiet">{schema.get("minLength", 0)} to {schema["maxLength"]}</span>')
    elif "pattern" in schema:
        bounds.append(f"<code>{escape(schema['pattern'])}</code>")
    return bounds


def _integer_bounds(schema: Schema) -> list[str]:
    """The bounds that are narrower than the type's own."""
    lowest, highest = schema.get("minimum", -(2**63)), schema.get("maximum", 2**63)
    if highest < 2**31 - 1:
        return [f'<span class="quiet">{lowest} to {highest}</span>']
    return [f'<span class="quiet">from {lowest}</span>'] if lowest > -(2**31) else []
