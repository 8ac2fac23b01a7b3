"""When the client sends a call again, how long it waits, and what a call sends."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from sealgate.client import RetryPolicy, SealgateError, Side, TransportError, operations
from sealgate.client.core import (
    Arguments,
    Conversation,
    Operation,
    Pause,
    Reply,
    Send,
    Silence,
    Told,
    converse,
)
from sealgate.client.retry import Verdict, verdict_on_answer, verdict_on_silence
from tests.client_support import StillMachine, hold

_GOOD = Reply(200, {}, b'{"success":true,"response":[]}')
_LOST = Silence("ReadError", sent=True)


def refusal(status: int, code: str, **headers: str) -> Reply:
    error = {"code": code, "message": "No.", "details": []}
    body = json.dumps({"success": False, "response": "No.", "error": error}).encode()
    return Reply(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


def start(
    operation: Operation[Any] = operations.LIST_WALLETS,
    machine: StillMachine | None = None,
    policy: RetryPolicy | None = None,
    timeout_seconds: float = 30.0,
    idempotency_key: str | None = None,
    arguments: Arguments | None = None,
) -> Conversation[Any]:
    return converse(
        operation,
        {"wallet_id": "w"} if arguments is None else arguments,
        credential={"x-api-key": "sk_secret"},
        policy=policy or RetryPolicy(),
        timeout_seconds=timeout_seconds,
        machine=machine or StillMachine(),
        idempotency_key=idempotency_key,
    )


@pytest.mark.parametrize(
    ("status", "code", "repeat", "maybe_done"),
    [
        (400, "VALIDATION_ERROR", False, False),
        (401, "SESSION_EXPIRED", False, False),
        (403, "SCOPE_NOT_GRANTED", False, False),
        (404, "WALLET_NOT_FOUND", False, False),
        (409, "INSUFFICIENT_BALANCE", False, False),
        (409, "IDEMPOTENCY_CONFLICT", False, False),
        (409, "REQUEST_IN_PROGRESS", True, True),
        (413, "PAYLOAD_TOO_LARGE", False, False),
        (429, "RATE_LIMITED", True, False),
        (429, None, True, False),
        (500, "INTERNAL", False, False),
        (502, None, True, True),
        (503, "OVERLOADED", True, False),
        (503, "UNAVAILABLE", True, True),
        (503, None, True, True),
        (504, "DEADLINE_EXCEEDED", True, True),
        (301, None, False, False),
    ],
)
def test_answer_is_repeated_when_another_may_be_better(
    status: int, code: str | None, repeat: bool, maybe_done: bool
) -> None:
    """The whole table: what is repeated, and after what the call may have taken effect."""
    assert verdict_on_answer(status, code) == Verdict(repeat, maybe_done)


@pytest.mark.parametrize("sent", [True, False])
def test_silence_is_repeated_and_doubted_when_the_request_was_sent(sent: bool) -> None:
    """A connection that was never made changed nothing."""
    assert verdict_on_silence(sent=sent) == Verdict(repeat=True, maybe_done=sent)


def test_pauses_double_up_to_the_cap_with_full_jitter() -> None:
    """From nothing to the longest pause, which doubles and then stays; `Retry-After` comes on top."""
    policy = RetryPolicy(base_seconds=0.5, cap_seconds=3.0)
    assert [policy.pause_seconds(n, None, lambda: 1.0) for n in (1, 2, 3, 4, 99)] == [0.5, 1, 2, 3, 3]
    assert [policy.pause_seconds(n, None, lambda: 0.0) for n in (1, 9)] == [0, 0]
    assert policy.pause_seconds(2, 7, lambda: 0.5) == 7.5


@pytest.mark.parametrize(
    "numbers",
    [{"attempts_count": 0}, {"attempt_timeout_seconds": 0.0}, {"base_seconds": -1.0}, {"cap_seconds": -1.0}],
)
def test_policy_without_sense_is_refused(numbers: dict[str, Any]) -> None:
    """No attempts, no time and a pause into the past are mistakes."""
    with pytest.raises(ValueError, match=r"attempt|pause"):
        RetryPolicy(**numbers)


def test_call_is_repeated_until_it_succeeds() -> None:
    """Silence, a busy server and a running twin later, the answer is the call's."""
    machine = StillMachine()
    answers: list[Told] = [
        _LOST,
        refusal(503, "OVERLOADED", retry_after="2"),
        refusal(409, "REQUEST_IN_PROGRESS"),
        _GOOD,
    ]
    sent, result = hold(start(machine=machine), machine, answers)
    assert result() == []
    assert len(sent) == 4
    assert machine.pauses == [0.05, 2.1, 0.2]


def test_call_ends_with_the_last_failure_when_attempts_are_used_up() -> None:
    """As many attempts as the policy gives, and no pause after the last."""
    machine = StillMachine()
    sent, result = hold(start(machine=machine), machine, [_LOST] * 9)
    with pytest.raises(TransportError) as raised:
        result()
    assert (len(sent), len(machine.pauses)) == (4, 3)
    assert raised.value.facts.attempts_count == 4
    assert raised.value.maybe_done
    assert raised.value.request_id == sent[-1].request.headers["x-request-id"]
    assert "ReadError" in str(raised.value)


def test_call_ends_at_once_when_the_pause_would_outlast_its_time() -> None:
    """Who has 30 seconds does not wait for a limit that lifts in 60."""
    machine = StillMachine()
    limits = {"x_ratelimit_limit": "60", "x_ratelimit_remaining": "0", "x_ratelimit_reset": "1767225660"}
    answer = refusal(429, "RATE_LIMITED", retry_after="60", **limits)
    sent, result = hold(start(machine=machine), machine, [answer, _GOOD])
    with pytest.raises(SealgateError) as raised:
        result()
    assert (len(sent), machine.pauses) == (1, [])
    assert raised.value.retry_after_seconds == 60
    assert raised.value.rate_limit is not None
    assert (raised.value.rate_limit.limit, raised.value.rate_limit.remaining) == (60, 0)
    assert raised.value.rate_limit.resets_at == datetime(2026, 1, 1, 0, 1, tzinfo=UTC)


def test_attempt_waits_no_longer_than_is_left_of_the_call() -> None:
    """The first may take its full time, the next one what remains."""
    machine = StillMachine()
    steps = start(machine=machine, timeout_seconds=12.0)
    first = next(steps)
    machine.now = 10.0
    pause = steps.send(_LOST)
    machine.now = 10.5
    second = steps.send(None)
    assert pause == Pause(0.05)
    assert isinstance(first, Send)
    assert isinstance(second, Send)
    assert (first.timeout_seconds, second.timeout_seconds) == (10.0, 1.5)


@pytest.mark.parametrize("status", [404, 409])
def test_refusal_after_a_lost_answer_says_that_the_call_may_have_worked(status: int) -> None:
    """A DELETE whose first answer was lost finds nothing the second time: nobody knows whose doing it is."""
    machine = StillMachine()
    steps = start(operations.DELETE_WALLET, machine)
    _, result = hold(steps, machine, [_LOST, refusal(status, "WALLET_NOT_FOUND")])
    with pytest.raises(SealgateError) as raised:
        result()
    assert raised.value.maybe_done
    _, result = hold(start(operations.DELETE_WALLET), machine, [refusal(status, "WALLET_NOT_FOUND")])
    with pytest.raises(SealgateError) as raised:
        result()
    assert not raised.value.maybe_done


def test_post_carries_one_idempotency_key_over_all_attempts() -> None:
    """A key of the call's own, the caller's if one is given; request ids differ by attempt."""
    machine = StillMachine()
    sent, _ = hold(start(operations.CREATE_WALLET, machine), machine, [_LOST, _LOST, _GOOD])
    keys = {step.request.headers["idempotency-key"] for step in sent}
    assert len(keys) == 1
    assert uuid.UUID(keys.pop()).version
    assert len({step.request.headers["x-request-id"] for step in sent}) == 3
    sent, _ = hold(start(operations.CREATE_WALLET, machine, idempotency_key="mine"), machine, [_GOOD])
    assert sent[0].request.headers["idempotency-key"] == "mine"


@pytest.mark.parametrize("operation", [operations.LIST_WALLETS, operations.UPDATE_WALLET])
def test_other_verbs_carry_no_idempotency_key(operation: Operation[Any]) -> None:
    """They mean the same however often they are said."""
    sent, _ = hold(start(operation), StillMachine(), [_GOOD])
    assert "idempotency-key" not in sent[0].request.headers


@pytest.mark.parametrize("key", ["", "é", "a\nb", "x" * 256])
def test_idempotency_key_that_no_header_can_carry_is_refused(key: str) -> None:
    """Before anything is sent; an empty one too, which the server would not take."""
    with pytest.raises(ValueError, match="idempotency key"):
        next(start(operations.CREATE_WALLET, idempotency_key=key))


def test_arguments_go_where_the_route_has_them() -> None:
    """Ids into the path, filters into the query, the rest into the body; what is None nowhere."""
    page = {"wallet_id": "a/b?", "limit": 5, "offset": None}
    sent, _ = hold(start(operations.LIST_TRANSFERS, arguments=page), StillMachine(), [_GOOD])
    assert sent[0].request.target == "/api/v1/wallet/a%2Fb%3F/transfers?limit=5"
    assert sent[0].request.body is None
    order = {
        "wallet_id": "w",
        "side": Side.BUY,
        "amount": Decimal("1E+2"),
        "price": "0.50",
        "post_only": True,
        "client_order_id": None,
    }
    sent, _ = hold(start(operations.PLACE_ORDER, arguments=order), StillMachine(), [_GOOD])
    assert sent[0].request.body == b'{"side":"BUY","amount":"100","price":"0.50","post_only":true}'
    east = timezone(timedelta(hours=2))
    key = {"expires_at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=east), "scopes": ("wallet:read",)}
    sent, _ = hold(start(operations.CREATE_API_KEY, arguments=key), StillMachine(), [_GOOD])
    assert sent[0].request.body == b'{"expires_at":"2026-01-02T01:04:05Z","scopes":["wallet:read"]}'


@pytest.mark.parametrize("wallet_id", ["", ".", "..", None, 7])
def test_id_that_would_make_another_route_is_refused(wallet_id: object) -> None:
    """`DELETE …/order/..` must not become a DELETE of something else."""
    with pytest.raises(ValueError, match="wallet_id"):
        next(start(operations.GET_WALLET, arguments={"wallet_id": wallet_id}))


@pytest.mark.parametrize(
    ("amount", "error"),
    [(0.1, TypeError), (True, TypeError), (Decimal("NaN"), ValueError), ("x", ValueError)],
)
def test_amount_that_is_no_exact_number_is_refused(amount: object, error: type[Exception]) -> None:
    """A float has other digits than those that were typed."""
    with pytest.raises(error):
        next(start(operations.QUOTE_ORDER, arguments={"wallet_id": "w", "amount": amount}))


def test_time_without_zone_is_refused() -> None:
    """Nobody can know which moment it is."""
    with pytest.raises(ValueError, match="zone"):
        next(start(operations.CREATE_API_KEY, arguments={"expires_at": datetime(2026, 1, 1)}))  # noqa: DTZ001


def test_call_without_time_is_refused() -> None:
    """A deadline in the past is a mistake of the caller's."""
    with pytest.raises(ValueError, match="time"):
        next(start(timeout_seconds=0))
