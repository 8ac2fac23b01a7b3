"""Every POST of families P and B, over REST and gRPC: asked twice under one key, it is done once."""

from __future__ import annotations

from typing import Any, Final

import pytest
from google.protobuf.message_factory import GetMessageClass

from edge.present import answer_encoder
from tests.cluster import Cluster
from tests.contract.good_calls import GOOD, METHODS, World, make_world
from tests.contract.idempotency_support import (
    KEY,
    OMITTED,
    POSTS,
    REPLAYED,
    post_grpc,
    post_rest,
    row_counts,
    service_of,
)

# What ends the credential it is called with: its repeat proves nobody's identity any more.
ENDS_ITS_CREDENTIAL: Final = "/sealgate.auth.v1.SessionService/ExpireCurrentSession"
REPEATABLE: Final = [
    pytest.param(name, id=name.rsplit("/", 1)[-1]) for name in POSTS if name != ENDS_ITS_CREDENTIAL
]
# Secrets that no server can say again.
OMITTED_SECRETS: Final = {
    "/sealgate.keys.v1.ApiKeyService/CreateProjectApiKey": "secret_key",
    "/sealgate.keys.v1.ApiKeyService/CreateAccountApiKey": "secret_key",
    "/sealgate.keys.v1.ApiKeyService/CreateApiKey": "secret_key",
    "/sealgate.keys.v1.ApiKeyService/RotateAccountApiKey": "secret_key",
}


@pytest.fixture
async def world(cluster: Cluster) -> World:
    return await make_world(cluster)


def without(document: Any, name: str | None) -> Any:  # noqa: ANN401
    """The answer with one member of its object turned to null."""
    if name is not None:
        assert document["response"][name]
        document["response"][name] = None
    return document


@pytest.mark.parametrize("full_name", REPEATABLE)
async def test_post_is_done_once_and_answered_again_over_rest(
    cluster: Cluster, world: World, full_name: str
) -> None:
    """The repeat has the first answer's status and bytes, less what is secret, and says what it is."""
    credential, fields = GOOD[full_name]
    headers = {**world.credential(credential), KEY: f"rest {full_name}"}
    first = await post_rest(cluster, full_name, fields(world), headers)
    assert first.status_code == METHODS[full_name].success_status, first.text
    assert REPLAYED not in first.headers
    counts = await row_counts(cluster, service_of(full_name))
    second = await post_rest(cluster, full_name, fields(world), headers)
    assert second.status_code == first.status_code, second.text
    assert second.headers[REPLAYED] == "true"
    omitted = OMITTED_SECRETS.get(full_name)
    assert second.headers.get(OMITTED) == omitted
    assert second.json() == without(first.json(), omitted)
    assert omitted is not None or second.content == first.content
    assert await row_counts(cluster, service_of(full_name)) == counts


@pytest.mark.parametrize("full_name", REPEATABLE)
async def test_post_is_done_once_and_answered_again_over_grpc(
    cluster: Cluster, world: World, full_name: str
) -> None:
    """As over REST, and a repeat over the other of the two is a repeat."""
    credential, fields = GOOD[full_name]
    headers = {**world.credential(credential), KEY: f"grpc {full_name}"}
    pairs = list(headers.items())
    first = await post_grpc(cluster, full_name, fields(world), pairs)
    assert first.code == "OK", first
    assert REPLAYED not in first.headers
    counts = await row_counts(cluster, service_of(full_name))
    second = await post_grpc(cluster, full_name, fields(world), pairs)
    assert (second.code, second.headers[REPLAYED]) == ("OK", "true")
    omitted = OMITTED_SECRETS.get(full_name)
    assert second.headers.get(OMITTED) == omitted
    assert omitted is not None or second.answer == first.answer
    over_rest = await post_rest(cluster, full_name, fields(world), headers)
    assert over_rest.headers[REPLAYED] == "true"
    method = METHODS[full_name]
    response = GetMessageClass(method.descriptor.output_type).FromString(second.answer)
    assert over_rest.content == answer_encoder(method)(response)
    assert await row_counts(cluster, service_of(full_name)) == counts


async def test_repeat_by_a_session_that_ended_itself_is_nobody_s(cluster: Cluster, world: World) -> None:
    """Its token proves nothing any more; another session with the same key asks for something else."""
    headers = {**world.credential("session"), KEY: "one"}
    first = await post_rest(cluster, ENDS_ITS_CREDENTIAL, {}, headers)
    assert first.json()["response"] == {"expired": True}
    again = await post_rest(cluster, ENDS_ITS_CREDENTIAL, {}, headers)
    assert (again.status_code, again.json()["error"]["code"]) == (401, "SESSION_INVALID")
    other = await cluster.session(world.tenant)
    headers = {"authorization": f"Bearer {other['session_token']}", KEY: "one"}
    refused = await post_rest(cluster, ENDS_ITS_CREDENTIAL, {}, headers)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "IDEMPOTENCY_CONFLICT")
    current = await cluster.rest("GET", "/api/v1/account/session", authorization=headers["authorization"])
    assert current.status_code == 200
