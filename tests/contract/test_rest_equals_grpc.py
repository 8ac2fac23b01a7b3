"""Every RPC that has a REST route answers the same over both, to good calls and to refused ones.

Those that are signed have a file of their own.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final

import grpc
import pytest
from google.protobuf.message_factory import GetMessageClass

from chassis.methods import CredentialKind, Exposure, HttpBinding, Method
from chassis.rpc.errors import error_from_rpc
from edge.present import answer_encoder
from edge.routes import variable_names
from edge.translate import request_decoder
from tests.cluster import Cluster
from tests.contract.good_calls import (
    GOOD,
    METHODS,
    UNKNOWN_ID,
    Fields,
    World,
    make_world,
    request_parts,
    rest_answer,
)

# What differs between two runs of the same call, and nothing else.
_VARYING: Final = (
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "<uuid>"),
    (re.compile(r"\b([ps])k_[A-Za-z0-9_-]{48}"), r"<\1k>"),
    (re.compile(r"eyJ[A-Za-z0-9_.-]+"), "<token>"),
    (re.compile(r"0x[0-9a-f]{64}"), "<condition>"),
    (re.compile(r'"[0-9]{60,78}"'), '"<token>"'),
    (re.compile(r"0x[0-9a-f]{40}"), "<address>"),
    (re.compile(r'"account_number":\d+'), '"account_number":0'),
    (re.compile(r'"user_agent":"[^"]*"'), '"user_agent":""'),
    (re.compile(r'"now_ns":\d+'), '"now_ns":0'),
)


@dataclass(frozen=True)
class Outcome:
    """An answer with what differs between runs taken out."""

    code: str
    status: int
    answer: str


def masked(text: str) -> str:
    for pattern, mark in _VARYING:
        text = pattern.sub(mark, text)
    return text


async def over_rest(
    cluster: Cluster, method: Method, binding: HttpBinding, fields: dict[str, Any], headers: dict[str, str]
) -> Outcome:
    answer = await rest_answer(cluster, binding, fields, headers)
    if answer.status_code >= 400:
        error = answer.json()["error"]
        return Outcome(error["code"], answer.status_code, json.dumps(error["details"]))
    return Outcome("OK", answer.status_code, masked(answer.text))


async def over_grpc(
    cluster: Cluster, method: Method, binding: HttpBinding, fields: dict[str, Any], headers: dict[str, str]
) -> Outcome:
    variables, query, body = request_parts(binding, fields)
    message = request_decoder(method, binding, variable_names(binding.template))(
        variables, query.encode(), body
    )
    service = method.full_name.split(".")[1]
    rpc: Any = cluster.public[service].unary_unary(
        method.full_name,
        request_serializer=GetMessageClass(method.descriptor.input_type).SerializeToString,
        response_deserializer=GetMessageClass(method.descriptor.output_type).FromString,
    )
    try:
        response = await rpc(message, metadata=tuple(headers.items()), timeout=30)
    except grpc.aio.AioRpcError as failure:
        error = error_from_rpc(failure, method.full_name)
        details = [{"path": detail.path, "message": detail.message} for detail in error.details]
        return Outcome(error.code.value, error.row.http_status, json.dumps(details))
    return Outcome("OK", method.success_status, masked(answer_encoder(method)(response).decode()))


async def both(
    cluster: Cluster, full_name: str, binding: HttpBinding, credential: str, fields: Fields
) -> tuple[Outcome, Outcome]:
    method = METHODS[full_name]
    worlds = [await make_world(cluster) for _ in range(2)]
    rest = await over_rest(cluster, method, binding, fields(worlds[0]), worlds[0].credential(credential))
    direct = await over_grpc(cluster, method, binding, fields(worlds[1]), worlds[1].credential(credential))
    return rest, direct


BINDINGS: Final = [
    pytest.param(name, binding, id=f"{binding.verb} {binding.template}")
    for name, method in METHODS.items()
    for binding in method.bindings
]


def test_every_rest_method_has_a_case() -> None:
    """A method that is added without a row in this table fails here."""
    assert set(GOOD) == set(METHODS)


@pytest.mark.parametrize(("full_name", "binding"), BINDINGS)
async def test_rpc_answers_rest_and_grpc_alike_when_all_is_well(
    cluster: Cluster, full_name: str, binding: HttpBinding
) -> None:
    """A good call gives the same answer and the method's success status over both."""
    credential, fields = GOOD[full_name]
    rest, direct = await both(cluster, full_name, binding, credential, fields)
    assert rest.code == "OK"
    assert rest.status == METHODS[full_name].success_status
    assert rest == direct


@pytest.fixture(scope="session")
async def still_world(cluster: Cluster) -> World:
    """A world for calls that are refused: nothing in it changes."""
    return await make_world(cluster)


# What each way of showing something is, once it is known to be good.
KIND_SHOWN: Final = {
    "project": CredentialKind.PROJECT_KEY,
    "session": CredentialKind.ACCOUNT_SESSION,
    "key": CredentialKind.ACCOUNT_API_KEY,
    "bearer key": CredentialKind.ACCOUNT_API_KEY,
    "page": CredentialKind.ACCOUNT_API_KEY,
}
REFUSALS: Final = {
    "bad key": (401, "API_KEY_INVALID"),
    "bad project key": (401, "API_KEY_INVALID"),
    "device": (401, "API_KEY_INVALID"),
    "bad token": (401, "SESSION_INVALID"),
    "basic": (401, "SESSION_INVALID"),
    "project and key": (400, "CREDENTIAL_AMBIGUOUS"),
    "key and signature": (400, "CREDENTIAL_AMBIGUOUS"),
    "page": (403, "ORIGIN_NOT_ALLOWED"),
}


@pytest.mark.parametrize(("full_name", "binding"), BINDINGS)
async def test_rpc_refuses_what_it_does_not_accept_alike_over_rest_and_grpc(
    cluster: Cluster, still_world: World, full_name: str, binding: HttpBinding
) -> None:
    """No credential, a bad one, two, or one of another kind: the contract's code, the same over both."""
    method = METHODS[full_name]
    if method.exposure is Exposure.OPEN:
        return
    only_session = method.accepts == {CredentialKind.ACCOUNT_SESSION}
    expected = REFUSALS | {"none": (401, "SESSION_REQUIRED" if only_session else "API_KEY_REQUIRED")}
    for shown, kind in KIND_SHOWN.items():
        if kind not in method.accepts:
            expected[shown] = (403, "CREDENTIAL_NOT_ACCEPTED")
    fields = GOOD[full_name][1](still_world)
    for shown, (status, code) in expected.items():
        headers = still_world.credential(shown)
        rest = await over_rest(cluster, method, binding, fields, headers)
        direct = await over_grpc(cluster, method, binding, fields, headers)
        assert (rest.status, rest.code) == (status, code), shown
        assert rest == direct, shown


NOUNS: Final = {
    "account_id": "ACCOUNT",
    "session_id": "SESSION",
    "public_key": "API_KEY",
    "wallet_id": "WALLET",
    "order_id": "ORDER",
    "condition_id": "MARKET",
    "request_id": "REQUEST",
    "chain": "CHAIN",
}
STRANGERS: Final = [
    pytest.param(name, field, id=f"{name.rsplit('/')[-1]} {field}")
    for name, method in METHODS.items()
    for field in variable_names(method.bindings[0].template)
]


@pytest.mark.parametrize(("full_name", "field"), STRANGERS)
async def test_rpc_answers_not_found_for_an_id_that_is_unknown_or_malformed(
    cluster: Cluster, still_world: World, full_name: str, field: str
) -> None:
    """An id in the path that names nothing, or is no id, is the 404 of its noun, over both."""
    credential, fields = GOOD[full_name]
    method, noun = METHODS[full_name], NOUNS[field]
    for value in (UNKNOWN_ID, "nonsense", UNKNOWN_ID.upper()):
        asked = fields(still_world) | {field: value}
        headers = still_world.credential(credential)
        rest = await over_rest(cluster, method, method.bindings[0], asked, headers)
        direct = await over_grpc(cluster, method, method.bindings[0], asked, headers)
        assert (rest.status, rest.code) == (404, f"{noun}_NOT_FOUND")
        assert rest == direct
