"""Whatever is sent to any route, by whomever: an answer of the contract, and never a 500."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chassis.errors import ERROR_TABLE, Code
from chassis.methods import Envelope, HttpBinding, Method
from chassis.testing.databases import TemplateDatabases
from tests.platform_support import (
    make_world,
    private_cluster,
    raw_exchange,
)
from tests.property.platform_shots import QUICK, ROUTES, Shot, Target, costs_the_world, good_shot, shots


@pytest.fixture(scope="module")
async def target(template_databases: TemplateDatabases, short_directory: Path) -> AsyncIterator[Target]:
    async with private_cluster(template_databases, short_directory) as cluster:
        aimed = Target(await make_world(cluster))
        await aimed.renew()
        yield aimed


NO_ROUTE: Final = (Code.ROUTE_NOT_FOUND, Code.METHOD_NOT_ALLOWED)


def is_answer(answer: httpx.Response, verb: str = "GET", envelope: Envelope = Envelope.PLATFORM) -> None:
    """An answer of the contract: status, envelope and headers belong together, and it is no 500."""
    uuid.UUID(answer.headers["x-request-id"])
    assert answer.headers["content-type"] == "application/json"
    assert answer.status_code != 500, answer.text
    if verb == "HEAD":
        return
    body = answer.json()
    if answer.status_code < 400:
        assert answer.status_code in (200, 201)
        assert envelope is not Envelope.PLATFORM or list(body) == ["success", "response"]
        return
    row = ERROR_TABLE[Code(body["error"]["code"])]
    assert answer.status_code == row.http_status
    assert list(body)[-2:] == ["error", "request_id"]
    # What is no route, or not by this verb, is no family's.
    in_platform = envelope is Envelope.PLATFORM or row.code in NO_ROUTE
    assert list(body)[:-2] == (["success", "response"] if in_platform else [])
    assert (body.get("success", False), body.get("response", row.message)) == (False, row.message)
    assert body["error"]["message"] == row.message
    assert list(body["error"]) == ["code", "message", "details"]
    assert all(list(detail) == ["path", "message"] for detail in body["error"]["details"])
    assert body["request_id"] == answer.headers["x-request-id"]
    assert ("www-authenticate" in answer.headers) == (answer.status_code == 401)
    assert ("allow" in answer.headers) == (answer.status_code == 405)


@pytest.mark.parametrize(
    ("method", "binding"),
    [pytest.param(*route, id=f"{route[1].verb} {route[1].template}") for route in ROUTES],
)
async def test_unspoilt_request_is_good(target: Target, method: Method, binding: HttpBinding) -> None:
    """What the odd requests are made of is good, or they would all be refused for one reason."""
    shot = good_shot(method, binding)
    answer = await target.world.cluster.http.request(
        shot.verb,
        shot.url(target),
        content=shot.content(target),
        headers={"content-type": "application/json"} | target.credential(shot.credential),
    )
    assert answer.status_code == method.success_status, answer.text
    if costs_the_world(method):
        await target.renew()


@settings(QUICK, max_examples=400)
@given(shot=shots())
async def test_any_request_is_answered_by_the_contract(target: Target, shot: Shot) -> None:
    """Every route with arbitrary path, query, headers and body, by good and bad credentials."""
    headers = {"content-type": "application/json"} | target.credential(shot.credential) | shot.headers
    answer = await target.world.cluster.http.request(
        shot.verb,
        shot.url(target),
        content=shot.content(target),
        headers=[(name.encode(), value.encode("latin-1")) for name, value in headers.items()],
    )
    is_answer(answer, shot.verb, shot.method.envelope)
    if answer.status_code < 400:
        if shot.verb == shot.binding.verb:
            assert answer.status_code == shot.method.success_status
        if shot.verb not in ("GET", "HEAD") and (
            shot.verb != shot.binding.verb or costs_the_world(shot.method)
        ):
            await target.renew()


PLAIN: Final = b"GET /healthz HTTP/1.1\r\nhost: edge\r\n\r\n"
PIECES: Final = st.sampled_from(
    [
        b"GET ",
        b"POST ",
        b"/api/v1/project",
        b"/api/v1/project/account",
        b" HTTP/1.1\r\n",
        b" HTTP/1.0\r\n",
        b" HTTP/2.0\r\n",
        b"host: edge\r\n",
        b"content-length: 5\r\n",
        b"content-length: -1\r\n",
        b"content-length: 99999999999999999999\r\n",
        b"transfer-encoding: chunked\r\n",
        b"transfer-encoding: gzip, chunked\r\n",
        b"connection: upgrade\r\nupgrade: h2c\r\n",
        b"expect: 100-continue\r\n",
        b"content-type: application/json\r\n",
        b" folded\r\n",
        b": \r\n",
        b"\0",
        b"\r\n",
        b"\n",
        b"\r\n\r\n",
        b"5\r\nhello\r\n0\r\n\r\n",
        b"ffffffffffffffffff\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01",
        PLAIN,
    ]
)


@settings(QUICK, max_examples=60)
@given(data=st.lists(PIECES | st.binary(max_size=20), max_size=12).map(b"".join))
async def test_any_bytes_are_answered_by_the_contract_or_not_at_all(target: Target, data: bytes) -> None:
    """What is no request gets the error object or nothing, and the next connection is served."""
    http = target.world.cluster.http
    assert http.base_url.port is not None
    for answer in await raw_exchange(http.base_url.port, data, hang_up=True):
        if answer.status_code == 100:
            continue
        if answer.status_code != 200:
            is_answer(answer)
    assert (await http.get("/healthz")).status_code == 200
