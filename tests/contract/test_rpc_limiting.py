"""Rate limits where they are counted: after identity, before the handler, on both listeners alike."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import grpc
import pytest

from chassis.errors import Code, SealgateError, invalid
from chassis.methods import CredentialKind
from chassis.rpc.errors import error_from_rpc, status_from_error
from chassis.rpc.metadata import REFUSAL
from chassis.testing.fakes import START_NS, CountingIds, FakeClock
from sealgate.common.v1.method_rule_pb2 import RATE_CLASS_READ, RATE_CLASS_WRITE, RateClass
from tests.contract.rpc_harness import (
    CREATE_SESSION,
    CREATE_WALLET,
    EXPIRE_CURRENT,
    GET_WALLET,
    LIST_SESSIONS,
    OPEN,
    Harness,
    Metadata,
    passport_metadata,
    serving,
)

START_SECONDS: Final = START_NS // 10**9
WRITES: Final = 60
READS: Final = 300


@pytest.fixture
async def server(clock: FakeClock, ids: CountingIds, short_directory: Path) -> AsyncIterator[Harness]:
    async with serving(clock, ids, short_directory) as harness:
        yield harness


def bearer(
    server: Harness,
    number: int,
    limits: Mapping[RateClass.ValueType, int] = MappingProxyType({}),
    **changes: Any,  # noqa: ANN401
) -> Metadata:
    """Metadata of an internal call with the credential of this number, whose own `limits` are by class."""
    claims = server.issuer.claims(**changes)
    for rate_class, count in limits.items():
        claims.limits.add(rate_class=rate_class, per_minute_count=count)
    claims.credential_id = f"0189abcd-0000-7000-8000-{number:012}"
    return passport_metadata(server.issuer.passport(claims))


async def ask(
    channel: grpc.aio.Channel, method: str, metadata: Metadata, request: bytes = b""
) -> tuple[Code | None, dict[str, str], int | None]:
    """A call's refusal, what its answer said of the limits, and the pause it asked for."""
    stub: Any = channel.unary_unary(method)
    call = stub(request, timeout=30.0, metadata=tuple(metadata))
    error: SealgateError | None = None
    try:
        await call
    except grpc.aio.AioRpcError as failure:
        error = error_from_rpc(failure, method)
    said = {name: value for name, value in await call.trailing_metadata() or () if "ratelimit" in name}
    return (None, said, None) if error is None else (error.code, said, error.retry_after_seconds)


async def spend(server: Harness, metadata: Metadata, count: int, method: str = CREATE_WALLET) -> None:
    """Makes so many calls, none of which may be refused."""
    for _ in range(count):
        assert (await ask(server.internal, method, metadata))[0] is None


async def test_answer_says_how_many_calls_are_left_and_until_when(server: Harness, clock: FakeClock) -> None:
    """All five headers, both windows as policies; the older three speak of the tighter one."""
    _, said, _ = await ask(server.internal, CREATE_WALLET, bearer(server, 1))
    assert said == {
        "x-ratelimit-limit": "60",
        "x-ratelimit-remaining": "59",
        "x-ratelimit-reset": str(START_SECONDS + 60),
        "ratelimit": '"write";r=59;t=60, "account-write";r=599;t=60',
        "ratelimit-policy": '"write";q=60;w=60, "account-write";q=600;w=60',
    }
    clock.advance(seconds=10.5)
    _, said, _ = await ask(server.internal, CREATE_WALLET, bearer(server, 2))
    assert said["ratelimit"] == '"write";r=59;t=60, "account-write";r=598;t=50'
    # The second credential's own window began half a second after a full one.
    assert said["x-ratelimit-reset"] == str(START_SECONDS + 71)


async def test_call_over_the_limit_is_refused_until_the_pause_is_over(
    server: Harness, clock: FakeClock
) -> None:
    """After as many seconds as the answer says one call passes, and no sooner."""
    await spend(server, bearer(server, 1), 1)
    clock.advance(seconds=20.25)
    await spend(server, bearer(server, 1), WRITES - 1)
    code, said, pause = await ask(server.internal, CREATE_WALLET, bearer(server, 1))
    assert (code, pause) == (Code.RATE_LIMITED, 40)
    assert said["x-ratelimit-remaining"] == "0"
    assert said["ratelimit"].startswith('"write";r=0;t=40, ')
    assert len(server.script.served) == WRITES
    clock.advance_ns(39_750_000_000 - 1)
    code, _, pause = await ask(server.internal, CREATE_WALLET, bearer(server, 1))
    assert (code, pause) == (Code.RATE_LIMITED, 1)
    clock.advance_ns(1)
    assert (await ask(server.internal, CREATE_WALLET, bearer(server, 1)))[0] is None
    assert (await ask(server.internal, CREATE_WALLET, bearer(server, 1)))[0] is Code.RATE_LIMITED


async def test_classes_and_credentials_are_counted_apart(server: Harness) -> None:
    """Whoever has no write left still reads, and another credential still writes."""
    await spend(server, bearer(server, 1), WRITES)
    assert (await ask(server.internal, CREATE_WALLET, bearer(server, 1)))[0] is Code.RATE_LIMITED
    assert (await ask(server.internal, GET_WALLET, bearer(server, 1)))[0] is None
    assert (await ask(server.internal, CREATE_WALLET, bearer(server, 2)))[0] is None
    other_kind = bearer(server, 1, kind=CredentialKind.ACCOUNT_API_KEY)
    assert (await ask(server.internal, CREATE_WALLET, other_kind))[0] is None
    await spend(server, bearer(server, 3), READS, GET_WALLET)
    assert (await ask(server.internal, GET_WALLET, bearer(server, 3)))[0] is Code.RATE_LIMITED


async def test_account_is_limited_over_all_its_credentials(server: Harness) -> None:
    """Ten credentials use up what it has; the eleventh is refused by the account's window, another's not."""
    for number in range(10):
        await spend(server, bearer(server, number), WRITES)
    code, said, pause = await ask(server.internal, CREATE_WALLET, bearer(server, 11))
    assert (code, pause) == (Code.RATE_LIMITED, 60)
    assert said["x-ratelimit-limit"] == "600"
    # The refused call took nothing from the credential's own window.
    assert said["ratelimit"] == '"write";r=60;t=0, "account-write";r=0;t=60'
    other = bearer(server, 12, account_id="0189abcd-0000-7000-8000-0000000000ff")
    assert (await ask(server.internal, CREATE_WALLET, other))[0] is None


async def test_credential_of_raised_limits_has_those_and_takes_nothing_from_others(server: Harness) -> None:
    """In its class alone; its account has ten times as many for it, in a window of its own."""
    raised = bearer(server, 1, {RATE_CLASS_WRITE: 70})
    await spend(server, raised, 69)
    code, said, _ = await ask(server.internal, CREATE_WALLET, raised)
    assert (code, said["x-ratelimit-remaining"]) == (None, "0")
    assert said["ratelimit-policy"] == '"write";q=70;w=60, "account-write";q=700;w=60'
    code, said, pause = await ask(server.internal, CREATE_WALLET, raised)
    assert (code, pause, said["x-ratelimit-limit"]) == (Code.RATE_LIMITED, 60, "70")
    _, said, _ = await ask(server.internal, GET_WALLET, raised)
    assert said["ratelimit-policy"] == '"read";q=300;w=60, "account-read";q=3000;w=60'
    _, said, _ = await ask(server.internal, CREATE_WALLET, bearer(server, 2))
    assert said["ratelimit"] == '"write";r=59;t=60, "account-write";r=599;t=60'


async def test_credential_can_be_given_less(server: Harness) -> None:
    """Its own count holds, whichever is smaller; what it had under another one does not count."""
    lowered = bearer(server, 1, {RATE_CLASS_READ: 2, RATE_CLASS_WRITE: 1})
    assert (await ask(server.internal, CREATE_WALLET, lowered))[0] is None
    assert (await ask(server.internal, CREATE_WALLET, lowered))[0] is Code.RATE_LIMITED
    assert (await ask(server.internal, CREATE_WALLET, bearer(server, 1)))[0] is None
    without_scope = bearer(server, 1, {RATE_CLASS_WRITE: 1}, scopes=("account:read",))
    code, said, _ = await ask(server.internal, CREATE_WALLET, without_scope)
    assert (code, said["x-ratelimit-limit"]) == (Code.SCOPE_NOT_GRANTED, "1")


async def test_project_key_is_limited_by_itself_alone(server: Harness) -> None:
    """What a project does for an account takes nothing from what the account may do itself."""
    request = b"\x0a\x24" + server.issuer.claims().account_id.encode()
    project = bearer(server, 1, kind=CredentialKind.PROJECT_KEY)
    _, said, _ = await ask(server.internal, CREATE_SESSION, project, request)
    assert said["ratelimit-policy"] == '"write";q=60;w=60'
    _, said, _ = await ask(server.internal, CREATE_WALLET, bearer(server, 2))
    assert said["ratelimit"].endswith('"account-write";r=599;t=60')


async def test_both_listeners_count_together(server: Harness) -> None:
    """A credential does not have its limit twice by coming over both."""
    server.issuer.known["token"] = server.issuer.claims()
    server.issuer.known["token"].credential_id = "0189abcd-0000-7000-8000-000000000001"
    public = (("authorization", "Bearer token"),)
    for left in range(WRITES - 1, -1, -2):
        _, said, _ = await ask(server.public, CREATE_WALLET, public)
        assert said["x-ratelimit-remaining"] == str(left)
        _, said, _ = await ask(server.internal, CREATE_WALLET, bearer(server, 1))
        assert said["x-ratelimit-remaining"] == str(left - 1)
    for channel, metadata in ((server.public, public), (server.internal, bearer(server, 1))):
        assert (await ask(channel, CREATE_WALLET, metadata))[0] is Code.RATE_LIMITED


async def test_call_that_the_credential_may_not_make_is_not_counted(server: Harness) -> None:
    """It is told how things stand, and has taken nothing."""
    without_scope = bearer(server, 1, scopes=("account:read",))
    for _ in range(2):
        code, said, _ = await ask(server.internal, CREATE_WALLET, without_scope)
        assert code is Code.SCOPE_NOT_GRANTED
        assert said["ratelimit"] == '"write";r=60;t=0, "account-write";r=600;t=0'
        assert said["x-ratelimit-reset"] == str(START_SECONDS)
    code, said, _ = await ask(server.internal, LIST_SESSIONS, bearer(server, 1))
    assert (code, said["x-ratelimit-remaining"]) == (Code.CREDENTIAL_NOT_ACCEPTED, "300")


async def test_call_of_nobody_says_nothing_of_limits(server: Harness) -> None:
    """Neither an open method nor a call whose credential is no good."""
    assert await ask(server.public, OPEN, ()) == (None, {}, None)
    bad = (("authorization", "Bearer unknown"),)
    assert await ask(server.public, GET_WALLET, bad) == (Code.SESSION_INVALID, {}, None)


def refusing(server: Harness) -> Metadata:
    """What the edge sends with a call whose request it could not read."""
    status = status_from_error(invalid("name", "must be a string"))
    return ((REFUSAL, status.SerializeToString()), *bearer(server, 1))


async def test_refusal_of_the_edge_is_counted_and_answered(server: Harness) -> None:
    """In place of the handler, after the caller's rights and limits."""
    code, said, _ = await ask(server.internal, CREATE_WALLET, refusing(server))
    assert (code, said["x-ratelimit-remaining"]) == (Code.VALIDATION_ERROR, "59")
    code, _, _ = await ask(server.internal, EXPIRE_CURRENT, (refusing(server)[0], *server.as_project()))
    assert code is Code.CREDENTIAL_NOT_ACCEPTED
    await spend(server, bearer(server, 1), WRITES - 1)
    assert (await ask(server.internal, CREATE_WALLET, refusing(server)))[0] is Code.RATE_LIMITED
    assert len(server.script.served) == WRITES - 1


@pytest.mark.parametrize("status", [b"", b"\xff", b"\x08\x03"], ids=["empty", "broken", "bare"])
async def test_refusal_that_cannot_be_read_never_reaches_the_handler(server: Harness, status: bytes) -> None:
    """Whatever was meant, it was not this message."""
    code, _, _ = await ask(server.internal, CREATE_WALLET, ((REFUSAL, status), *bearer(server, 1)))
    assert code is Code.INTERNAL
    assert server.script.served == []


async def test_clients_refusal_is_not_listened_to(server: Harness) -> None:
    """The name means something between our own processes only."""
    server.issuer.known["token"] = server.issuer.claims()
    metadata = (refusing(server)[0], ("authorization", "Bearer token"))
    assert (await ask(server.public, CREATE_WALLET, metadata))[0] is None


async def test_figures_are_structured_fields(server: Harness) -> None:
    """Lists of strings with integer parameters, as RFC 9651 writes them."""
    _, said, _ = await ask(server.internal, GET_WALLET, bearer(server, 1))
    item = r'"[a-z-]+"(;[a-z]+=[0-9]+)+'
    for name in ("ratelimit", "ratelimit-policy"):
        assert re.fullmatch(f"{item}, {item}", said[name])
