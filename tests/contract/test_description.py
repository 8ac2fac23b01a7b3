"""The API's description, held against the method table, the error table and what is really answered."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from chassis.errors import ERROR_TABLE, Code, SealgateError
from chassis.methods import CredentialKind, Exposure, HttpBinding
from edge.errors import error_answer
from edge.present import json_bytes
from edge.routes import variable_names
from edge.translate import request_decoder
from tests.cluster import Cluster
from tests.contract.good_calls import GOOD, UNKNOWN_ID, World, make_world, rest_answer
from tests.described import DESCRIPTION, METHODS

ROUTE_PAGE: Final = Path(__file__).parents[2] / "docs" / "routes.md"
OWN: Final = {("GET", path) for path in ("/healthz", "/readyz", "/openapi.json", "/docs")}
ROUTES: Final = [
    pytest.param(name, binding, id=f"{binding.verb} {binding.template}")
    for name, method in METHODS.items()
    for binding in method.bindings
]
COMPONENTS: Final = DESCRIPTION.document["components"]


def schemas_in(part: Any, where: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:  # noqa: ANN401
    """Every schema of a value's type in a part of the document, with its place."""
    if isinstance(part, dict):
        if isinstance(part.get("type"), str | list):
            yield where, part
        for name, item in part.items():
            if name not in ("example", "examples", "securitySchemes"):
                yield from schemas_in(item, f"{where}/{name}")


def test_description_is_openapi() -> None:
    """The document is valid by the OpenAPI 3.1 specification's own schema."""
    errors = OpenAPIV31SpecValidator(dict(DESCRIPTION.document)).iter_errors()
    assert [str(error) for error in errors] == []


def test_description_has_the_routes_of_the_method_table_and_of_the_route_page() -> None:
    """No route is missing in one of the three places, and none is invented."""
    described = {(verb, path) for verb, path, _ in DESCRIPTION.operations()}
    served = {(binding.verb, binding.template) for method in METHODS.values() for binding in method.bindings}
    page = set(re.findall(r"^\| `([A-Z]+) (\S+)` \|", ROUTE_PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    assert described == served | OWN
    assert page == served


def test_operation_is_named_after_its_rpc() -> None:
    """Names are the RPCs', numbered for further paths, and unique."""
    names = [operation["operationId"] for _, _, operation in DESCRIPTION.operations()]
    assert len(names) == len(set(names))
    for method in METHODS.values():
        for number, binding in enumerate(method.bindings, start=1):
            operation = DESCRIPTION.operation(binding.verb, binding.template)
            suffix = "" if number == 1 else str(number)
            assert operation["operationId"] == method.descriptor.name + suffix
            assert operation["x-sealgate-rpc"] == method.full_name
            assert operation["summary"]


SCHEMES: Final = {
    CredentialKind.PROJECT_KEY: {"projectKey"},
    CredentialKind.ACCOUNT_SESSION: {"accountSession"},
    CredentialKind.ACCOUNT_API_KEY: {"accountApiKey", "accountApiKeyBearer"},
    CredentialKind.DEVICE_KEY: {"deviceKey"},
    CredentialKind.SESSION_KEY: {"sessionSignature"},
}
# What the JSON body of a request that is signed in its headers is made of.
BODIES: Final = {
    "CreateSessionApiKey": ["name", "subaccount_index"],
    "CreateDeviceKey": ["name", "subaccount_index"],
}
UNSIGNED: Final = [route for route in ROUTES if not METHODS[str(route.values[0])].is_signed]


@pytest.mark.parametrize(("full_name", "binding"), ROUTES)
def test_operation_asks_for_the_credentials_that_its_method_accepts(
    full_name: str, binding: HttpBinding
) -> None:
    """Each way to show an accepted kind, with the scope it needs, and nothing else.

    A signature in the body is a member of it and nothing that OpenAPI calls security.
    """
    method = METHODS[full_name]
    security = DESCRIPTION.operation(binding.verb, binding.template)["security"]
    assert all(len(alternative) == 1 for alternative in security)
    asked = {scheme: scopes for alternative in security for scheme, scopes in alternative.items()}
    shown = set() if method.takes_payload else method.accepts
    assert set(asked) == {scheme for kind in shown for scheme in SCHEMES[kind]}
    assert set(asked) <= set(COMPONENTS["securitySchemes"])
    for scheme, scopes in asked.items():
        assert scopes == ([method.scope] if method.scope and scheme != "projectKey" else [])


@pytest.mark.parametrize(("full_name", "binding"), ROUTES)
def test_operation_takes_the_fields_of_its_request(full_name: str, binding: HttpBinding) -> None:
    """Each field is in the path, in the query or in the body, and in one of them only."""
    operation = DESCRIPTION.operation(binding.verb, binding.template)
    parameters = [DESCRIPTION.resolved(parameter) for parameter in operation["parameters"]]
    in_path = [item["name"] for item in parameters if item["in"] == "path"]
    assert tuple(in_path) == variable_names(binding.template)
    taken = [item["name"] for item in parameters if item["in"] == "query"]
    method = METHODS[full_name]
    if binding.has_body:
        assert taken == []
        schema = DESCRIPTION.resolved(operation["requestBody"]["content"]["application/json"]["schema"])
        assert schema["additionalProperties"] is False
        taken = list(schema["properties"])
    if method.is_signed and not method.takes_payload:
        headers = {item["name"] for item in parameters if item["in"] == "header" and item["required"]}
        assert headers == {"X-ACCOUNT-ID", "X-PUBLIC-KEY", "X-REQUEST-ID"}
        assert taken == BODIES.get(method.descriptor.name, [])
        return
    fields = [field.name for field in method.descriptor.input_type.fields]
    assert sorted(in_path + taken) == sorted(fields)


def test_every_error_is_described() -> None:
    """Each code of the table stands in the error's schema and has an example of both forms of its answer."""
    assert COMPONENTS["schemas"]["Error"]["properties"]["code"]["enum"] == [str(code) for code in Code]
    names = {name for code in ERROR_TABLE for name in (str(code), f"Refusal.{code}")}
    assert set(COMPONENTS["examples"]) == names
    for name in names:
        row = ERROR_TABLE[Code(name.removeprefix("Refusal."))]
        error = COMPONENTS["examples"][name]["value"]["error"]
        assert (error["code"], error["message"]) == (row.code, row.message)


@pytest.mark.parametrize(("full_name", "binding"), ROUTES)
def test_example_of_a_refusal_is_in_its_routes_envelope(full_name: str, binding: HttpBinding) -> None:
    """With `success` and `response` on the platform's routes, and on no signed, browser's or bare one."""
    method = METHODS[full_name]
    for status, reference in DESCRIPTION.operation(binding.verb, binding.template)["responses"].items():
        if int(status) < 400:
            continue
        examples = DESCRIPTION.resolved(reference)["content"]["application/json"]["examples"]
        for code, example in examples.items():
            shown = DESCRIPTION.resolved(example)["value"]
            error = SealgateError(Code(code))
            answered = json.loads(error_answer(error, UUID(shown["request_id"]), method).body)
            assert set(shown) == set(answered)
            assert shown | {"error": answered["error"]} == answered


def test_response_lists_codes_of_its_own_status() -> None:
    """A code is never described under another status than the error table gives it."""
    for _, _, operation in DESCRIPTION.operations():
        for status, reference in operation["responses"].items():
            content = DESCRIPTION.resolved(reference).get("content", {}).get("application/json", {})
            for code in content.get("examples", {}):
                assert ERROR_TABLE[code].http_status == int(status)


@pytest.mark.parametrize(
    ("where", "schema"), [pytest.param(*found, id=found[0]) for found in schemas_in(DESCRIPTION.document)]
)
def test_leaf_has_an_example_that_is_valid(where: str, schema: Mapping[str, Any]) -> None:
    """Whoever reads a member's schema sees a value that it takes."""
    if "properties" in schema or "array" in schema["type"] or "object" in schema["type"]:
        return
    if "/headers/" in where or "/parameters/" in where or where.endswith("html; charset=utf-8/schema"):
        return  # the example stands beside the schema
    assert schema["examples"], where
    for example in schema["examples"]:
        assert DESCRIPTION.complaint(schema, example) is None


def test_examples_are_valid() -> None:
    """Parameters, headers, bodies and answers, each by its own schema, refusals included."""
    for verb, path, operation in DESCRIPTION.operations():
        parts = [DESCRIPTION.resolved(item) for item in operation["parameters"]]
        parts += [content for _, content in operation.get("requestBody", {}).get("content", {}).items()]
        for reference in operation["responses"].values():
            response = DESCRIPTION.resolved(reference)
            parts += [DESCRIPTION.resolved(header) for header in response["headers"].values()]
            parts += response.get("content", {}).values()
        for part in parts:
            given = part.get("examples") or {"": {"value": part["example"]}}
            for example in given.values():
                value = DESCRIPTION.resolved(example)["value"]
                assert DESCRIPTION.complaint(part["schema"], value, closed=True) is None, (verb, path)


@pytest.mark.parametrize(("full_name", "binding"), ROUTES)
def test_example_body_is_taken(full_name: str, binding: HttpBinding) -> None:
    """What the description shows as a body is one that the edge can read."""
    method = METHODS[full_name]
    if not binding.has_body or (method.is_signed and not method.takes_payload):
        return
    names = variable_names(binding.template)
    content = DESCRIPTION.operation(binding.verb, binding.template)["requestBody"]["content"]
    body = json_bytes(content["application/json"]["example"])
    request_decoder(method, binding, names)(["x"] * len(names), b"", body)


RATE_LIMIT_HEADERS: Final = {
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
    "ratelimit",
    "ratelimit-policy",
}


@pytest.mark.parametrize(("full_name", "binding"), UNSIGNED)
async def test_good_answer_is_as_described(cluster: Cluster, full_name: str, binding: HttpBinding) -> None:
    """Status, headers and body of a good call, without a member more than the description tells of."""
    world = await make_world(cluster)
    credential, fields = GOOD[full_name]
    answer = await rest_answer(cluster, binding, fields(world), world.credential(credential))
    assert answer.status_code == METHODS[full_name].success_status
    if METHODS[full_name].exposure is Exposure.PUBLIC:
        assert set(answer.headers) >= RATE_LIMIT_HEADERS
    DESCRIPTION.refuse_undescribed(binding.verb, binding.template, answer)


@pytest.fixture(scope="session")
async def refusing_world(cluster: Cluster) -> World:
    """A world for calls that are refused."""
    return await make_world(cluster)


@pytest.mark.parametrize(("full_name", "binding"), UNSIGNED)
async def test_refusal_is_as_described(
    cluster: Cluster, refusing_world: World, full_name: str, binding: HttpBinding
) -> None:
    """Credentials, ids and bodies that are refused are refused in a way that the description tells of."""
    world = refusing_world
    credential, fields = GOOD[full_name]
    good, headers = fields(world), world.credential(credential)
    attempts = [
        *((good, world.credential(kind)) for kind in SHOWN if METHODS[full_name].accepts),
        *((good | {name: UNKNOWN_ID}, headers) for name in variable_names(binding.template)),
        *((good | {name: "%zz"}, headers) for name in variable_names(binding.template)),
        (good | {"no_such_member": 1}, headers),
        (good, headers | {"x-big": "x" * 40_000}),
    ]
    if binding.has_body:
        attempts.append((good | {"no_such_member": "x" * 70_000}, headers))
    statuses = set()
    for asked, shown in attempts:
        answer = await rest_answer(cluster, binding, asked, shown)
        assert answer.status_code >= 400
        statuses.add(answer.status_code)
        DESCRIPTION.refuse_undescribed(binding.verb, binding.template, answer)
    public = METHODS[full_name].exposure is Exposure.PUBLIC
    assert statuses >= ({400, 401, 403, 431} if public else {400, 431})


SHOWN: Final = ("none", "bad key", "bad token", "basic", "project and key", "device", "page")
