"""One page of HTML without scripts and without anything from elsewhere."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from html import escape
from pathlib import Path
from typing import Any, Final

from chassis.errors import ERROR_TABLE
from edge.openapi_payloads import MESSAGE_KEYWORD, NUMBER_KEYWORD, TYPE_KEYWORD
from edge.reference.types import is_shown_apart, type_text

Json = Mapping[str, Any]

_STYLE: Final = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
_STYLE_HASH: Final = base64.b64encode(sha256(_STYLE.encode("utf-8")).digest()).decode("ascii")
CONTENT_SECURITY_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_OPTIONAL: Final = ' <span class="quiet">optional</span>'
_CODE: Final = re.compile(r"`([^`]+)`")


def render(document: Json) -> str:
    """The page of an OpenAPI document of ours."""
    title = escape(f"{document['info']['title']} {document['info']['version']}")
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}</title><style>{_STYLE}</style></head><body>",
        *_navigation(document),
        f'<main><h1 id="top">{title}</h1>',
        _paragraphs(document["info"]["description"]),
        '<p><a href="openapi.json">The same in OpenAPI 3.1</a>, for programs.</p>',
        *_credentials(document),
        *(part for tag in document["tags"] for part in _tag(document, tag)),
        *_types(document),
        *_errors(),
        "</main></body></html>",
    ]
    return "\n".join(parts) + "\n"


def _operations(document: Json, tag: str) -> Iterator[tuple[str, str, Json]]:
    """Verb, path and operation of everything under a tag."""
    for path, item in document["paths"].items():
        for verb, operation in item.items():
            if tag in operation["tags"]:
                yield verb.upper(), path, operation


def _navigation(document: Json) -> Iterator[str]:
    yield '<nav aria-label="Contents"><ul><li><a href="#top">Start</a></li>'
    yield '<li><a href="#credentials">Credentials</a></li><li><a href="#types">Types</a></li>'
    yield '<li><a href="#errors">Errors</a></li></ul>'
    for tag in document["tags"]:
        yield f'<a href="#{_anchor("tag", tag["name"])}"><strong>{escape(tag["name"])}</strong></a><ul>'
        for verb, _, operation in _operations(document, tag["name"]):
            name = operation["operationId"]
            label = f'<span class="verb {verb}">{verb}</span> {escape(name)}'
            yield f'<li><a href="#{_anchor("operation", name)}">{label}</a></li>'
        yield "</ul>"
    yield "</nav>"


def _credentials(document: Json) -> Iterator[str]:
    yield '<h2 id="credentials">Credentials</h2>'
    rows = []
    for name, scheme in document["components"]["securitySchemes"].items():
        shown = scheme.get("name") or f"Authorization: Bearer {scheme['bearerFormat']}"
        anchor = f'<span id="{_anchor("credential", name)}">{escape(name)}</span>'
        rows.append((anchor, f"<code>{escape(shown)}</code>", _inline(scheme["description"])))
    yield _table(("name", "header", "what it is"), rows)


def _tag(document: Json, tag: Json) -> Iterator[str]:
    yield f'<h2 id="{_anchor("tag", tag["name"])}">{escape(tag["name"])}</h2>'
    yield _paragraphs(tag["description"])
    for verb, path, operation in _operations(document, tag["name"]):
        yield from _operation(document, verb, path, operation)


def _operation(document: Json, verb: str, path: str, operation: Json) -> Iterator[str]:
    name = operation["operationId"]
    anchor = _anchor("operation", name)
    yield f'<section class="operation" id="{anchor}"><h3><a href="#{anchor}">{escape(name)}</a></h3>'
    yield f'<p class="route"><span class="verb {verb}">{verb}</span> <code>{escape(path)}</code></p>'
    yield _paragraphs(f"{operation['summary']}.\n\n{operation.get('description', '')}")
    yield from _security(operation)
    yield from _parameters(document, operation["parameters"])
    if "requestBody" in operation:
        yield from _content(document, "Body", operation["requestBody"]["content"])
    refusals = []
    for status, reference in operation["responses"].items():
        response = _resolved(document, reference)
        if int(status) < 300:
            yield from _content(document, f"Answer {status}", response["content"])
        else:
            refusals.append((status, response))
    if refusals:
        yield "<details><summary>Other answers</summary><dl>"
        for status, response in refusals:
            yield f"<dt>{status}</dt><dd>{_linked_codes(response)}</dd>"
        yield "</dl></details>"
    yield "</section>"


def _security(operation: Json) -> Iterator[str]:
    names = [name for alternative in operation["security"] for name in alternative]
    if names:
        links = (f'<a href="#{_anchor("credential", name)}">{escape(name)}</a>' for name in names)
        yield f'<p class="quiet">One of: {", ".join(links)}</p>'


def _parameters(document: Json, parameters: Sequence[Json]) -> Iterator[str]:
    rows = []
    for reference in parameters:
        parameter = _resolved(document, reference)
        rows.append(
            (
                f"<code>{escape(parameter['name'])}</code>",
                escape(parameter["in"]),
                type_text(parameter["schema"]),
                _inline(parameter["description"]),
            )
        )
    yield "<h4>Parameters</h4>"
    yield _table(("name", "in", "type", "what it is"), rows)


def _content(document: Json, title: str, content: Json) -> Iterator[str]:
    [(content_type, described)] = content.items()
    yield f'<h4>{title} <span class="quiet">{escape(content_type)}</span></h4>'
    schema = _resolved(document, described["schema"])
    if schema.get("properties"):
        yield _members(schema)
    for member in schema.get("properties", {}).values():
        if "contentSchema" in member:
            message = _resolved(document, member["contentSchema"])
            yield f"<h4>Message in the payload: {type_text(member['contentSchema'])}"
            yield f' <span class="quiet">{escape(message[MESSAGE_KEYWORD])}</span></h4>'
            yield _members(message)
    yield f"<pre>{escape(_json(described['example']))}</pre>"


def _members(schema: Json) -> str:
    """The members of an object, or the fields of a protobuf message."""
    if MESSAGE_KEYWORD in schema:
        return _fields(schema)
    required = schema.get("required", ())
    rows = [
        (
            f"<code>{escape(name)}</code>",
            type_text(member) + ("" if name in required else _OPTIONAL),
            _inline(member.get("description", "")),
        )
        for name, member in schema["properties"].items()
    ]
    return _table(("member", "type", "what it is"), rows)


def _fields(message: Json) -> str:
    if not message["properties"]:
        return "<p>It has no fields.</p>"
    required = message.get("required", ())
    rows = [
        (
            str(field[NUMBER_KEYWORD]),
            f"<code>{escape(name)}</code>",
            escape(field[TYPE_KEYWORD]) + ("" if name in required else _OPTIONAL),
            _inline(field["description"]),
        )
        for name, field in message["properties"].items()
    ]
    return _table(("number", "field", "protobuf type", "what it is"), rows)


def _types(document: Json) -> Iterator[str]:
    yield '<h2 id="types">Types</h2>'
    for name, schema in document["components"]["schemas"].items():
        if not is_shown_apart(schema):
            continue
        anchor = _anchor("type", name)
        yield f'<section class="type" id="{anchor}"><h3><a href="#{anchor}">{escape(name)}</a></h3>'
        yield _paragraphs(schema.get("description", ""))
        if "properties" in schema:
            yield _members(schema)
        yield "</section>"


def _errors() -> Iterator[str]:
    yield '<h2 id="errors">Errors</h2>'
    rows = [
        (
            f'<code id="{_anchor("error", row.code)}">{row.code}</code>',
            str(row.http_status),
            row.grpc_status,
            _inline(row.message),
        )
        for row in ERROR_TABLE.values()
    ]
    yield _table(("code", "HTTP", "gRPC", "text"), rows)


def _linked_codes(response: Json) -> str:
    """The codes that a response can have, as links; else what it says of itself."""
    examples = response.get("content", {}).get("application/json", {}).get("examples")
    if examples is None:
        return _inline(response["description"])
    return ", ".join(f'<a href="#{_anchor("error", code)}"><code>{code}</code></a>' for code in examples)


def _resolved(document: Json, reference: Json) -> Json:
    """What a reference within the document stands for; anything else as it is."""
    while "$ref" in reference:
        place: Any = document
        for step in reference["$ref"].removeprefix("#/").split("/"):
            place = place[step]
        reference = place
    return reference


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{heading}</th>' for heading in headings)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _paragraphs(text: str) -> str:
    return "".join(_paragraph(part) for part in text.split("\n\n") if part.strip())


def _paragraph(text: str) -> str:
    """A paragraph, or a list when it begins as one."""
    if not text.startswith("- "):
        return f"<p>{_inline(text)}</p>"
    items = text.removeprefix("- ").split("\n- ")
    return f"<ul>{''.join(f'<li>{_inline(item)}</li>' for item in items)}</ul>"


def _inline(text: str) -> str:
    """A comment as HTML; what is between backticks is code."""
    return _CODE.sub(r"<code>\1</code>", escape(text))


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)


def _anchor(kind: str, name: str) -> str:
    return f"{kind}-{re.sub(r'[^A-Za-z0-9._-]+', '-', name)}"
