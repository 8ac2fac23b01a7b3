"""Holds answers against the API's description."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any, Final

import httpx
from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import best_match
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from chassis.errors import SealgateError
from chassis.methods import Method
from edge.config import SERVICES
from edge.openapi import describe
from edge.routes import RouteTable, load_methods
from tests.unit.edge_support import DESCRIPTOR

METHODS: Final[Mapping[str, Method]] = {
    method.full_name: method
    for method in load_methods(DESCRIPTOR, [name for names in SERVICES.values() for name in names])
}
# Of HTTP itself, and what tells browsers how to treat a page.
_PLAIN_HEADERS: Final = frozenset(
    {
        *("content-length", "content-type", "connection", "date", "cache-control"),
        *("content-security-policy", "x-content-type-options", "referrer-policy", "vary"),
        *("access-control-allow-origin", "access-control-expose-headers"),
    }
)
_ADDRESS: Final = "urn:description"


class Description:
    """The document, with a judgement on values and answers."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document
        self._closed = self._registry(_closed(document))
        self._open = self._registry(document)

    @staticmethod
    def _registry(document: Mapping[str, Any]) -> Registry[Any]:
        empty: Registry[Any] = Registry()
        registry: Registry[Any] = empty.with_resource(_ADDRESS, DRAFT202012.create_resource(document))
        return registry

    def resolved(self, part: Mapping[str, Any]) -> Mapping[str, Any]:
        """What a reference stands for; anything else as it is."""
        while "$ref" in part:
            found: Any = self.document
            for step in part["$ref"].removeprefix("#/").split("/"):
                found = found[step]
            part = found
        return part

    def operation(self, verb: str, template: str) -> Mapping[str, Any]:
        """The operation of a route."""
        found: Mapping[str, Any] = self.document["paths"][template][verb.lower()]
        return found

    def operations(self) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
        """Verb, path and operation of every route."""
        for template, item in self.document["paths"].items():
            for verb, operation in item.items():
                yield verb.upper(), template, operation

    def complaint(self, schema: Mapping[str, Any], value: object, *, closed: bool = False) -> str | None:
        """What is wrong with a value by a schema of the document; `closed` also minds further members."""
        validator = Draft202012Validator(
            _absolute(schema), registry=self._closed if closed else self._open, format_checker=FormatChecker()
        )
        error = best_match(validator.iter_errors(value))
        return None if error is None else f"{error.json_path}: {error.message}"

    def refuse_undescribed(self, verb: str, template: str, answer: httpx.Response) -> None:
        """Fails when status, headers or body of an answer are not as described."""
        responses = self.operation(verb, template)["responses"]
        where = f"{verb} {template} answered {answer.status_code} {answer.text[:600]}"
        assert str(answer.status_code) in responses, where
        response = self.resolved(responses[str(answer.status_code)])
        self._refuse_headers(response.get("headers", {}), answer.headers, where)
        if not response.get("content"):
            assert not answer.content, where
            return
        [(content_type, content)] = response["content"].items()
        assert answer.headers["content-type"] == content_type, where
        value = answer.json() if content_type == "application/json" else answer.text
        complaint = self.complaint(content["schema"], value, closed=True)
        assert complaint is None, f"{where}: {complaint}"

    def _refuse_headers(self, described: Mapping[str, Any], sent: Mapping[str, str], where: str) -> None:
        by_name = {name.lower(): self.resolved(header) for name, header in described.items()}
        assert set(sent) - _PLAIN_HEADERS <= set(by_name), where
        for name, header in by_name.items():
            assert name in sent or not header.get("required"), f"{where} without {name}"
            if name in sent:
                text = sent[name]
                value = int(text) if header["schema"]["type"] == "integer" else text
                assert self.complaint(header["schema"], value) is None, f"{where}: {name}: {text}"


def _absolute(schema: Any) -> Any:  # noqa: ANN401
    """A schema whose references say which document they are to."""
    if isinstance(schema, dict):
        return {key: _ADDRESS + item if key == "$ref" else _absolute(item) for key, item in schema.items()}
    return [_absolute(item) for item in schema] if isinstance(schema, list) else schema


def _closed(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The document with no room for members that it does not tell of."""
    closed = deepcopy(document)
    for name, schema in closed["components"]["schemas"].items():
        # The one of the families whose envelope may be the platform's, before the route is known.
        if "properties" in schema and name != "Refusal":
            schema["additionalProperties"] = False
    return dict(closed)


DESCRIPTION: Final = Description(describe(DESCRIPTOR, list(METHODS.values())))
_ROUTES: Final[RouteTable[str]] = RouteTable()
for _verb, _template, _ in DESCRIPTION.operations():
    _ROUTES.add(_verb, _template, _template)


async def refuse_undescribed(answer: httpx.Response) -> None:
    """Fails when an answer of a route is not as described; for the event hooks of an httpx client.

    What no route answered, and HEAD, is left to others.
    """
    await answer.aread()
    verb, path = answer.request.method, answer.request.url.raw_path.partition(b"?")[0]
    try:
        template = _ROUTES.match(verb, path).endpoint
    except SealgateError:
        return
    if verb != "HEAD":
        DESCRIPTION.refuse_undescribed(verb, template, answer)
