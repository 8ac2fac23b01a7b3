"""Every signed RPC answers the same over REST and over gRPC, to good requests and to refused ones."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Final

import grpc
import pytest

from chassis.methods import CredentialKind
from chassis.rpc.errors import error_from_rpc
from edge.present import answer_encoder
from tests.cluster import Cluster
from tests.described import DESCRIPTION
from tests.signed_cases import GOOD, Signed, World, make_world, sign
from tests.signing_support import (
    SignedHeaders,
    new_pair,
)
from tests.signing_world import SIGNED_METHODS

# What differs between two runs of the same request, and nothing else.
_VARYING: Final = (
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "<uuid>"),
    (re.compile(r"\b([psd])k_[A-Za-z0-9_-]{48}"), r"<\1k>"),
    (re.compile(r'"[A-Za-z0-9+/]{43}="'), '"<public key>"'),
    (re.compile(r'"0x[0-9a-f]{40}"'), '"<address>"'),
    (re.compile(r'"[0-9]{60,78}"'), '"<token>"'),
    (re.compile(r'"txn_seq":\d+'), '"txn_seq":0'),
)
RATE_LIMIT_HEADERS: Final = {"x-ratelimit-limit", "ratelimit", "ratelimit-policy"}


async def over_rest(world: World, name: str, signed: Signed, **headers: str) -> tuple[str, str]:
    answer = await world.signing.deliver(name, signed, **headers)
    if answer.status_code >= 400:
        error = answer.json()["error"]
        return error["code"], json.dumps(error["details"])
    assert answer.status_code == 200
    return "OK", masked(answer.text)


async def over_grpc(world: World, name: str, signed: Signed, *metadata: tuple[str, str]) -> tuple[str, str]:
    variables: dict[str, str] = {}
    if isinstance(signed, SignedHeaders):
        variables = GOOD[name](world).variables
    try:
        response = await world.signing.call(name, signed, *metadata, variables=variables)
    except grpc.aio.AioRpcError as failure:
        error = error_from_rpc(failure, name)
        return error.code.value, json.dumps(
            [{"path": detail.path, "message": detail.message} for detail in error.details]
        )
    return "OK", masked(answer_encoder(SIGNED_METHODS[name])(response).decode())


def masked(text: str) -> str:
    for pattern, mark in _VARYING:
        text = pattern.sub(mark, text)
    return text


def test_every_signed_method_has_a_case() -> None:
    """A method that is added without a row in this table fails here."""
    assert set(GOOD) == set(SIGNED_METHODS)


@pytest.mark.parametrize("name", SIGNED_METHODS)
async def test_signed_rpc_answers_rest_and_grpc_alike_when_all_is_well(cluster: Cluster, name: str) -> None:
    """Two accounts alike, one asked over each: done, with the same answer, as the description has it."""
    worlds = [await make_world(cluster) for _ in range(2)]
    answer = await worlds[0].signing.deliver(name, sign(worlds[0], name))
    document = answer.json()
    assert (answer.status_code, document.get("status")) == (200, "request_completed"), answer.text
    assert set(answer.headers) >= RATE_LIMIT_HEADERS
    [binding] = SIGNED_METHODS[name].bindings
    DESCRIPTION.refuse_undescribed(binding.verb, binding.template, answer)
    direct = await over_grpc(worlds[1], name, sign(worlds[1], name))
    assert direct == ("OK", masked(answer.text))


@pytest.mark.parametrize("name", SIGNED_METHODS)
async def test_signed_request_runs_once_whichever_way_it_comes(cluster: Cluster, name: str) -> None:
    """Sent over REST and again over gRPC, and the other way round: the second hears of the first.

    A list is not on record, and is answered again.
    """
    for rest_is_first in (True, False):
        world = await make_world(cluster)
        signed = sign(world, name)
        first = await (over_rest if rest_is_first else over_grpc)(world, name, signed)
        second = await (over_grpc if rest_is_first else over_rest)(world, name, signed)
        assert first[0] == second[0] == "OK"
        again = json.loads(second[1])
        if "original" not in again:
            assert again["status"] == "request_completed"
            continue
        before = json.loads(first[1])
        assert (again["success"], again["status"], again["same_payload"]) == (
            False,
            "duplicate_request_id",
            True,
        )
        told = {member for member in before if member in again["original"]}
        assert {member: again["original"][member] for member in told} == {
            member: before[member] for member in told
        }
        assert told >= {"success", "status", "processed_at_ns", "request_id", "details"}
        assert not again.get("secret_key")


@pytest.fixture(scope="session")
async def still_world(cluster: Cluster) -> World:
    """A world for requests that are refused: nothing in it changes."""
    return await make_world(cluster)


CREDENTIALS: Final = (
    ("x-api-key", "sk_" + "A" * 48),
    ("x-project-api-key", "sk_nonsense"),
    ("x-device-key", "dk_nonsense"),
    ("authorization", "Bearer not.a.token"),
)


def with_bad_signature(signed: Signed) -> Signed:
    return replace(signed, signature=bytes([signed.signature[0] ^ 1]) + signed.signature[1:])


@pytest.mark.parametrize("name", SIGNED_METHODS)
async def test_signed_rpc_refuses_who_cannot_sign_alike_over_rest_and_grpc(
    cluster: Cluster, still_world: World, name: str
) -> None:
    """An unknown key, a wrong signature, the other kind of key, a foreign page, a second credential."""
    world, method = still_world, SIGNED_METHODS[name]
    right = GOOD[name](world)
    cases: list[tuple[str, Signed, tuple[tuple[str, str], ...]]] = [
        ("SIGNATURE_INVALID", sign(world, name, new_pair()), ()),
        ("SIGNATURE_INVALID", with_bad_signature(sign(world, name)), ()),
        ("ORIGIN_NOT_ALLOWED", sign(world, name), (("origin", "https://elsewhere.example"),)),
        *(("CREDENTIAL_AMBIGUOUS", sign(world, name), (header,)) for header in CREDENTIALS),
    ]
    kinds = {
        CredentialKind.MASTER_KEY: world.signing.master,
        CredentialKind.SESSION_KEY: world.signing.session,
    }
    for kind, pair in kinds.items():
        if kind not in method.accepts:
            cases.append(("CREDENTIAL_NOT_ACCEPTED", sign(world, name, pair, right), ()))
    for code, signed, beside in cases:
        headers = {header.replace("-", "_"): value for header, value in beside}
        rest = await over_rest(world, name, signed, **headers)
        direct = await over_grpc(world, name, signed, *beside)
        assert rest == direct == (code, "[]")


@pytest.mark.parametrize("name", SIGNED_METHODS)
async def test_signed_rpc_refuses_an_id_of_another_time_alike_over_rest_and_grpc(
    cluster: Cluster, still_world: World, name: str
) -> None:
    """A millisecond outside of the window, at both ends: the server's own time is told."""
    world = still_world
    for ahead_ns in (-15_001_000_000, 5_001_000_000):
        signed = sign(world, name, request_id=world.signing.request_id(ahead_ns=ahead_ns))
        rest = await over_rest(world, name, signed)
        direct = await over_grpc(world, name, signed)
        assert rest == direct
        assert rest[0] == "REQUEST_TIMESTAMP_SKEW"
        [detail] = json.loads(rest[1])
        assert detail["path"] == "now_ns"
        assert str(cluster.clock.now_ns()) in detail["message"]
