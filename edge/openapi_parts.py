"""What the API's description says of no route in particular, and of the routes of the edge itself."""

from __future__ import annotations

from typing import Any, Final

from chassis.errors import Code
from edge.field_facts import FACTS

Json = dict[str, Any]

REQUEST_ID: Final = "X-Request-Id"
LOOK_UP_HEADER: Final = "Retry-After-Look-Up"
HTML_TYPE: Final = "text/html; charset=utf-8"
_REQUEST_UUID: Final = "0199d3a1-6e2b-7c4d-8f10-00000000aa01"

_DESCRIPTION: Final = """\
A request carries exactly one credential, or is signed with an Ed25519 key, which is one too. Answers are
`{"success": true, "response": …}`; refusals have a code in `error.code`, say in `error.details` what is
wrong with which field, and carry the `request_id` that the logs have too.

Bodies are JSON objects without unknown or repeated members; an empty body is `{}`, and `null` means the
same as leaving a member out. Amounts, shares and prices are decimal strings, and may be sent as JSON
numbers as well. Times are in UTC (`2026-03-01T09:30:00Z`), 64-bit integers are JSON integers. An answer
can have further members later: ignore what you do not know.

Every GET is also answered as HEAD; to any other verb a path answers `405` with `Allow`. A POST may carry
an `Idempotency-Key`: repeated with the same body it gets the first answer again, for 24 hours. `429` and
`503` say in `Retry-After` when to repeat.

A request with an `Origin` is a web page's. An API key works from the origins that it lists; sessions, device
keys and signed requests work from those of the project, and a project key from none. What a page changes with
an API key needs `X-Session-Token` too: `POST /api/v1/sessions` makes one for an hour. Preflights are answered
to every origin. Answers that need no credential can be read by every page, others, refusals included, by
pages from where the credential works; so can the headers on rate limits, `Retry-After` and `X-Request-Id`.

Signed requests, and the reads beside them, answer the object itself, with times in Unix nanoseconds. A
signed request runs once: repeated it answers `duplicate_request_id` with what became of it, and one that
was refused after its signature held answers 200 with `success` false. A HEAD is not what a signed GET was
signed as, so it is refused."""

INFO: Final[Json] = {
    "title": "Sealgate",
    "summary": "Credentials and wallets of a trading platform",
    "description": _DESCRIPTION,
}

SECURITY_SCHEMES: Final[Json] = {
    "projectKey": {
        "type": "apiKey",
        "in": "header",
        "name": "X-PROJECT-API-KEY",
        "description": "Project key `sk_…`: the customer's backend, never a browser.",
    },
    "accountSession": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "Account session token, made by the backend for one of its users.",
    },
    "accountApiKey": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-KEY",
        "description": "Account API key `sk_…`, within its scopes and origins.",
    },
    "accountApiKeyBearer": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "sk_…",
        "description": "The same account API key as a bearer token.",
    },
    "deviceKey": {
        "type": "apiKey",
        "in": "header",
        "name": "X-DEVICE-KEY",
        "description": "Device key `dk_…`, made by a session key, for reads.",
    },
}

PARAMETERS: Final[Json] = {
    "RequestId": {
        "name": REQUEST_ID,
        "in": "header",
        "description": "The caller's id of the request. A UUID is taken over, else one is made.",
        "schema": {"type": "string"},
        "example": _REQUEST_UUID,
    },
    "Origin": {
        "name": "Origin",
        "in": "header",
        "required": True,
        "description": "The page's origin, one of the key's `origins`. Browsers send it by themselves.",
        "schema": {"type": "string", "pattern": FACTS["origins"]["pattern"]},
        "example": FACTS["origins"]["example"],
    },
    "BrowserSessionToken": {
        "name": "X-Session-Token",
        "in": "header",
        "description": (
            "The browser session token of `POST /api/v1/sessions`: a web page that shows an API key needs it "
            "for whatever changes something. Nobody else does; it is passed over with other credentials and "
            "without an `Origin`."
        ),
        "schema": {"type": "string"},
        "example": FACTS["CreateBrowserSessionResponse.session_token"]["example"],
    },
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "Makes a repeat safe: the same key and request get the first answer again.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
        "example": "order-000123",
    },
}


def _text_header(description: str, example: str, **keywords: object) -> Json:
    return {
        "description": description,
        "schema": {"type": "string", **keywords},
        "example": example,
    }


def _count_header(description: str, example: int) -> Json:
    return {"description": description, "schema": {"type": "integer", "minimum": 0}, "example": example}


HEADERS: Final[Json] = {
    REQUEST_ID: _text_header("The id that the logs know the request by.", _REQUEST_UUID, format="uuid")
    | {"required": True},
    "Cache-Control": _text_header("Nobody may keep the answer.", "no-store") | {"required": True},
    "X-RateLimit-Limit": _count_header("How many requests of this class there may be in a window.", 300),
    "X-RateLimit-Remaining": _count_header("How many are left.", 299),
    "X-RateLimit-Reset": _count_header("When there will be more, Unix seconds.", 1_772_357_460),
    "RateLimit": _text_header("The same as the IETF's draft writes it.", '"read";r=299;t=60'),
    "RateLimit-Policy": _text_header("The limit as the IETF's draft writes it.", '"read";q=300;w=60'),
    "Retry-After": _count_header("Seconds after which a repeat makes sense.", 1) | {"required": True},
    LOOK_UP_HEADER: _count_header("Seconds after which to look again; absent when it will not come.", 1),
    "WWW-Authenticate": _text_header("How to identify oneself.", 'Bearer realm="sealgate"')
    | {"required": True},
    "Allow": _text_header("The verbs that the path has.", "GET, HEAD") | {"required": True},
    "Idempotent-Replayed": _text_header("There when the answer is an earlier one again.", "true"),
    "Idempotent-Omitted": _text_header("Members of the first answer that are not repeated.", "secret_key"),
    "ETag": _text_header("Names this version of the document.", '"3f0c"') | {"required": True},
}

_DETAIL: Final[Json] = {
    "type": "object",
    "description": "One thing wrong with a request.",
    "properties": {
        "path": {"type": "string", "description": "Which field.", "examples": ["metadata.name"]},
        "message": {"type": "string", "description": "What about it.", "examples": ["must be a string"]},
    },
    "required": ["path", "message"],
}
_ERROR: Final[Json] = {
    "type": "object",
    "description": "Why a request was refused.",
    "properties": {
        "code": {
            "type": "string",
            "description": "What programs go by.",
            "enum": [code.value for code in Code],
            "examples": ["VALIDATION_ERROR"],
        },
        "message": {
            "type": "string",
            "description": "The one text of the code.",
            "examples": ["The request is not valid; details say where."],
        },
        "details": {
            "type": "array",
            "description": "What is wrong with which field.",
            "items": {"$ref": "#/components/schemas/ErrorDetail"},
        },
    },
    "required": ["code", "message", "details"],
}
_REQUEST_ID_MEMBER: Final[Json] = {
    "type": "string",
    "format": "uuid",
    "description": "As in `X-Request-Id`.",
    "examples": [_REQUEST_UUID],
}
_REFUSAL_MEMBERS: Final[Json] = {
    "error": {"$ref": "#/components/schemas/Error"},
    "request_id": _REQUEST_ID_MEMBER,
}
SCHEMAS: Final[Json] = {
    "ErrorDetail": _DETAIL,
    "Error": _ERROR,
    "Refusal": {
        "type": "object",
        "description": "A refusal.",
        "properties": _REFUSAL_MEMBERS,
        "required": list(_REFUSAL_MEMBERS),
    },
    "PlatformRefusal": {
        "type": "object",
        "description": "A refusal in the envelope of the platform's answers.",
        "properties": {
            "success": {"const": False},
            "response": {
                "type": "string",
                "description": "The error's message.",
                "examples": ["The request is not valid; details say where."],
            },
            **_REFUSAL_MEMBERS,
        },
        "required": ["success", "response", *_REFUSAL_MEMBERS],
        "additionalProperties": False,
    },
}

_OK_SCHEMA: Final[Json] = {
    "type": "object",
    "properties": {"status": {"const": "ok"}},
    "required": ["status"],
}
_REFERENCE: Final = {name: {"$ref": f"#/components/headers/{name}"} for name in HEADERS}
_NOT_MODIFIED: Final[Json] = {
    "description": "The caller has this version, as its `If-None-Match` says.",
    "headers": {name: _REFERENCE[name] for name in ("ETag", REQUEST_ID)},
}

_NOT_READY: Final[Json] = {
    "description": "`UNAVAILABLE`: details name what does not serve.",
    "headers": {name: _REFERENCE[name] for name in ("Cache-Control", "Retry-After", REQUEST_ID)},
    "content": {
        "application/json": {
            "schema": {"$ref": "#/components/schemas/PlatformRefusal"},
            "examples": {"UNAVAILABLE": {"$ref": "#/components/examples/UNAVAILABLE"}},
        }
    },
}


def _own_route(operation_id: str, summary: str, responses: Json) -> Json:
    return {
        "get": {
            "operationId": operation_id,
            "summary": summary,
            "tags": ["Edge"],
            "parameters": [{"$ref": "#/components/parameters/RequestId"}],
            "responses": responses,
            "security": [],
        }
    }


def _ok(schema: Json, example: object, *headers: str, content_type: str = "application/json") -> Json:
    return {
        "description": "As asked.",
        "headers": {name: _REFERENCE[name] for name in (*headers, REQUEST_ID)},
        "content": {content_type: {"schema": schema, "example": example}},
    }


OWN_PATHS: Final[Json] = {
    "/healthz": _own_route(
        "GetHealth", "Says that the edge is up", {"200": _ok(_OK_SCHEMA, {"status": "ok"}, "Cache-Control")}
    ),
    "/readyz": _own_route(
        "GetReadiness",
        "Says whether every service behind the edge serves",
        {
            "200": _ok(_OK_SCHEMA, {"status": "ok"}, "Cache-Control"),
            "503": _NOT_READY,
        },
    ),
    "/openapi.json": _own_route(
        "GetDescription",
        "Returns this description",
        {
            "200": _ok({"type": "object"}, {"openapi": "3.1.0"}, "ETag"),
            "304": _NOT_MODIFIED,
        },
    ),
    "/docs": _own_route(
        "GetReference",
        "Returns this description for people",
        {
            "200": _ok(
                {"type": "string"}, "<!doctype html>", "ETag", content_type="text/html; charset=utf-8"
            ),
            "304": _NOT_MODIFIED,
        },
    ),
}
