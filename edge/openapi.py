"""The API's description in OpenAPI 3.1, made from the contracts: their paths, types, rules and comments."""

from __future__ import annotations

import importlib.metadata
import itertools
import re
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from chassis.errors import ERROR_TABLE, Code
from chassis.methods import CredentialKind, Envelope, Exposure, HttpBinding, Method
from chassis.rpc.idempotency_key import takes_key
from edge.field_facts import FACTS
from edge.openapi_parts import (
    HEADERS,
    INFO,
    LOOK_UP_HEADER,
    OWN_PATHS,
    PARAMETERS,
    REQUEST_ID,
    SCHEMAS,
    SECURITY_SCHEMES,
)
from edge.openapi_payloads import add_payload
from edge.openapi_signed import (
    SIGNED_PARAMETERS,
    SIGNED_SECURITY_SCHEMES,
    SIGNING_TAG,
    STATUS_SCHEMA,
    signed_words,
)
from edge.refusals import refusals_of
from edge.routes import variable_names
from edge.schemas import STATUS_COMPONENT, Schemas, comments_of
from sealgate.common.v1 import method_rule_pb2 as rules

Json = dict[str, Any]

_SCHEMES: Final = {
    CredentialKind.PROJECT_KEY: ("projectKey",),
    CredentialKind.ACCOUNT_SESSION: ("accountSession",),
    CredentialKind.ACCOUNT_API_KEY: ("accountApiKey", "accountApiKeyBearer"),
    CredentialKind.DEVICE_KEY: ("deviceKey",),
}
# What is signed in the body has no scheme: OpenAPI has none for it.
_HEADER_SIGNATURE: Final = "sessionSignature"
_SIGNED_HEADERS: Final = ("SignedAccountId", "SignedPublicKey", "SignedRequestId")
_CREDENTIAL_WORDS: Final = {
    CredentialKind.PROJECT_KEY: "a project key",
    CredentialKind.ACCOUNT_SESSION: "an account session",
    CredentialKind.ACCOUNT_API_KEY: "an account API key",
    CredentialKind.DEVICE_KEY: "a device key",
}
# Before the code in the name of an example that has no `success`.
_BARE_EXAMPLE: Final = "Refusal."
_DETAILS: Final = {
    Code.VALIDATION_ERROR: [("name", "is not known here")],
    Code.MALFORMED_PAYLOAD: [("payload", "must have at least 24 bytes")],
    Code.REQUEST_TIMESTAMP_SKEW: [("now_ns", f"the server's time is {FACTS['now_ns']['example']}")],
}
_RATE_LIMIT_HEADERS: Final = (
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "RateLimit",
    "RateLimit-Policy",
)


def describe(descriptor: Path, methods: Sequence[Method]) -> Json:
    """The OpenAPI document of an edge that serves `methods` of a descriptor set file.

    Raises OSError when the file, from which the methods were read, is not there any more.
    """
    comments = comments_of(FileDescriptorSet.FromString(descriptor.read_bytes()))
    return _Description(comments).document(methods)


class _Description:
    """A document in the making."""

    def __init__(self, comments: dict[str, str]) -> None:
        self._comments = comments
        self._schemas = Schemas(comments)
        self._responses: Json = {}
        self._operation_ids: set[str] = set()

    def document(self, methods: Sequence[Method]) -> Json:
        """The document, whole."""
        paths: dict[str, Json] = {}
        tags: dict[str, Json] = {}
        for method in methods:
            service = method.descriptor.containing_service
            tag = _tag(method)
            tags.setdefault(tag, {"name": tag, "description": self._comments.get(service.full_name, "")})
            for binding in method.bindings:
                path = paths.setdefault(binding.template, {})
                path[binding.verb.lower()] = self._operation(method, binding)
        if any(method.is_signed for method in methods):
            tags = {SIGNING_TAG["name"]: SIGNING_TAG} | tags
        own_tag = {"name": "Edge", "description": "The edge's own routes."}
        return {
            "openapi": "3.1.0",
            "info": INFO | {"version": importlib.metadata.version("sealgate")},
            "servers": [{"url": "/"}],
            "tags": [*tags.values(), own_tag],
            "paths": paths | OWN_PATHS,
            "components": {
                "schemas": dict(sorted((SCHEMAS | self._own_schemas() | self._schemas.components).items())),
                "responses": dict(sorted((self._responses | _method_not_allowed()).items())),
                "parameters": PARAMETERS | SIGNED_PARAMETERS,
                "headers": HEADERS,
                "examples": _examples(),
                "securitySchemes": SECURITY_SCHEMES | SIGNED_SECURITY_SCHEMES,
            },
        }

    def _own_schemas(self) -> Json:
        return {STATUS_COMPONENT: STATUS_SCHEMA}

    def _operation(self, method: Method, binding: HttpBinding) -> Json:
        names = variable_names(binding.template)
        comment = self._comments.get(method.descriptor.full_name, "")
        summary, _, rest = comment.partition(". ")
        operation: Json = {
            "operationId": self._operation_id(method),
            "summary": summary.rstrip("."),
            "description": "\n\n".join(
                text for text in (rest, *_same_as(method, binding), *_needs(method)) if text
            ),
            "tags": [_tag(method)],
            "parameters": [
                *self._schemas.parameters(method, names, has_body=binding.has_body),
                *_header_parameters(method),
            ],
        }
        if binding.has_body:
            operation["requestBody"] = self._request_body(method, names)
        operation["responses"] = self._responses_of(method, binding)
        operation["security"] = _security(method)
        return operation | _extensions(method)

    def _operation_id(self, method: Method) -> str:
        """The method's name; numbered where it has further paths."""
        rpc = method.descriptor.name
        numbered = (rpc if number == 1 else f"{rpc}{number}" for number in itertools.count(1))
        name = next(name for name in numbered if name not in self._operation_ids)
        self._operation_ids.add(name)
        return name

    def _request_body(self, method: Method, path_names: Sequence[str]) -> Json:
        schema, example = self._schemas.body(method, path_names)
        component = self._schemas.components[schema["$ref"].rpartition("/")[2]]
        if method.takes_payload:
            example["payload"] = add_payload(self._schemas, method, component)
        return {
            "required": "required" in component,
            "content": {"application/json": {"schema": schema, "example": example}},
        }

    def _responses_of(self, method: Method, binding: HttpBinding) -> Json:
        schema, example = self._schemas.answer(method)
        schema, example = _enveloped(method.envelope, schema, example)
        output = self._comments.get(method.descriptor.output_type.full_name, "")
        responses: Json = {
            str(method.success_status): {
                "description": output or HTTPStatus(method.success_status).phrase,
                "headers": _success_headers(method),
                "content": {"application/json": {"schema": schema, "example": example}},
            }
        }
        for status, codes in refusals_of(method, binding).items():
            responses[str(status)] = self._shared(status, _refusal(method, status, codes))
        return responses

    def _shared(self, status: int, response: Json) -> Json:
        """A reference to a response that other routes may have too."""
        phrase = re.sub(r"\W", "", HTTPStatus(status).phrase.title())
        numbered = (phrase if number == 1 else f"{phrase}{number}" for number in itertools.count(1))
        name = next(name for name in numbered if self._responses.setdefault(name, response) == response)
        return {"$ref": f"#/components/responses/{name}"}


def _tag(method: Method) -> str:
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", method.descriptor.containing_service.name)
    return words.removesuffix(" Service").capitalize().replace("Api ", "API ")


def _security(method: Method) -> list[Json]:
    if method.is_signed:
        return [] if method.takes_payload else [{_HEADER_SIGNATURE: []}]
    return [
        {scheme: [method.scope] if method.scope and kind is not CredentialKind.PROJECT_KEY else []}
        for kind in sorted(method.accepts)
        for scheme in _SCHEMES[kind]
    ]


def _same_as(method: Method, binding: HttpBinding) -> tuple[str, ...]:
    """That there is an earlier path with the same answer."""
    first = method.bindings[0]
    return () if binding == first else (f"The same as `{first.verb} {first.template}`.",)


def _needs(method: Method) -> tuple[str, ...]:
    """What a caller has to have, in words."""
    if method.exposure is Exposure.OPEN:
        return ("Needs no credential.",)
    if method.is_signed:
        return signed_words(method)
    kinds = [_CREDENTIAL_WORDS[kind] for kind in sorted(method.accepts)]
    needs = f"Needs {' or '.join(kinds)}"
    if method.scope:
        needs += f" with the scope `{method.scope}`"
    paragraphs = [f"{needs}."]
    if method.takes_browser_session:
        paragraphs.append("A web page with an API key needs `X-Session-Token` too.")
    if method.module:
        paragraphs.append(f"The project must have the module `{method.module}`.")
    return (*paragraphs,)


def _extensions(method: Method) -> Json:
    """The method's row of the access table, for programs."""
    return {
        "x-sealgate-rpc": method.full_name,
        "x-sealgate-credentials": [kind.name for kind in sorted(method.accepts)],
        "x-sealgate-scope": method.scope,
        "x-sealgate-module": method.module,
        "x-sealgate-effect": method.effect.name,
        "x-sealgate-rate-class": rules.RateClass.Name(
            rules.RateClass.ValueType(method.rate_class)
        ).removeprefix("RATE_CLASS_"),
    }


def _header_parameters(method: Method) -> list[Json]:
    names: Sequence[str]
    if method.is_signed:
        names = () if method.takes_payload else _SIGNED_HEADERS
    else:
        conditions = {
            "Origin": method.for_pages,
            "BrowserSessionToken": method.takes_browser_session,
            "IdempotencyKey": takes_key(method),
            "RequestId": True,
        }
        names = [name for name, applies in conditions.items() if applies]
    return [{"$ref": f"#/components/parameters/{name}"} for name in names]


def _header(name: str) -> Json:
    return {"$ref": f"#/components/headers/{name}"}


def _headers(*names: str) -> Json:
    return {name: _header(name) for name in (*names, REQUEST_ID)}


def _success_headers(method: Method) -> Json:
    names: list[str] = []
    if method.exposure is Exposure.PUBLIC:
        names += ["Cache-Control", *_RATE_LIMIT_HEADERS]
    if takes_key(method):
        names += ["Idempotent-Replayed", "Idempotent-Omitted"]
    return _headers(*names)


def _refusal_headers(method: Method, status: int, codes: Sequence[Code]) -> Json:
    names = ["Cache-Control"]
    if method.exposure is Exposure.PUBLIC:
        names += _RATE_LIMIT_HEADERS
    names += {401: ["WWW-Authenticate"], 429: ["Retry-After"], 503: ["Retry-After"]}.get(status, [])
    if status == 409 and takes_key(method):
        names.append("Idempotent-Replayed")
    # Of a request id that may still arrive.
    later = {"Retry-After": _header(LOOK_UP_HEADER)} if Code.REQUEST_NOT_FOUND in codes else {}
    return _headers(*names) | later


def _enveloped(envelope: Envelope, schema: Json, example: Any) -> tuple[Json, Any]:  # noqa: ANN401
    """Schema and example of an answer around what is in it."""
    if envelope is Envelope.PLATFORM:
        members = {"success": {"const": True}, "response": schema}
        return _closed_object(members), {"success": True, "response": example}
    if envelope is Envelope.BROWSER:
        return _closed_object({"data": schema}), {"data": example}
    return schema, example


def _closed_object(properties: Json) -> Json:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _refusal(method: Method, status: int, codes: Sequence[Code]) -> Json:
    is_platform = method.envelope is Envelope.PLATFORM
    family = "PlatformRefusal" if is_platform else "Refusal"
    prefix = "" if is_platform else _BARE_EXAMPLE
    texts = [f"`{code}`: {ERROR_TABLE[code].message}" for code in codes]
    if Code.HEADERS_TOO_LARGE in codes and not is_platform:
        texts.append("It comes before the route is known, and has `success` and `response` too.")
    error = {"type": "object", "properties": {"code": {"enum": [code.value for code in codes]}}}
    return {
        "description": "\n\n".join(texts),
        "headers": _refusal_headers(method, status, codes),
        "content": {
            "application/json": {
                "schema": {
                    "allOf": [
                        {"$ref": f"#/components/schemas/{family}"},
                        {"type": "object", "properties": {"error": error}},
                    ]
                },
                "examples": {code.value: {"$ref": f"#/components/examples/{prefix}{code}"} for code in codes},
            }
        },
    }


def _method_not_allowed() -> Json:
    """The answer to a verb that a path does not have, which no operation can list as its own."""
    code = Code.METHOD_NOT_ALLOWED
    return {
        "MethodNotAllowed": {
            "description": f"`{code}`: {ERROR_TABLE[code].message} So answers every path to other verbs.",
            "headers": _headers("Allow", "Cache-Control"),
            "content": {
                "application/json": {
                    "schema": {"$ref": "#/components/schemas/PlatformRefusal"},
                    "examples": {code.value: {"$ref": f"#/components/examples/{code}"}},
                }
            },
        }
    }


def _examples() -> Json:
    """Of each code a refusal in family P, and one in the families without `success`."""
    bare = {code: _refusal_example(code) for code in ERROR_TABLE}
    platform = {
        code: {"success": False, "response": ERROR_TABLE[code].message} | refusal
        for code, refusal in bare.items()
    }
    return {code.value: {"value": example} for code, example in platform.items()} | {
        f"{_BARE_EXAMPLE}{code}": {"value": example} for code, example in bare.items()
    }


def _refusal_example(code: Code) -> Json:
    details = [{"path": path, "message": message} for path, message in _DETAILS.get(code, ())]
    return {
        "error": {"code": code.value, "message": ERROR_TABLE[code].message, "details": details},
        "request_id": FACTS["request_id"]["example"],
    }
