"""How long a signed call is tried, which answers are its own, and how an outcome is waited for."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from chassis.signing import Status
from chassis.testing.fakes import START_NS
from sealgate.client import (
    RequestNotFound,
    RequestStatus,
    RetryPolicy,
    Sealgate,
    SealgateError,
    TransportError,
    Unavailable,
    UnexpectedAnswerError,
    operations,
    signed_operations,
)
from sealgate.client.core import Reply, Silence, Told, converse
from sealgate.client.machine import uuid_v7
from sealgate.client.signed_call import await_outcome
from tests.client_support import StillMachine, hold
from tests.unit.test_client_retry import refusal
from tests.unit.test_client_signing import LOST, OWN_ID, WALLET, answer, repeat, start

TRANSFER: Final = {
    "from_subaccount_index": 0,
    "from_wallet_id": WALLET,
    "to_subaccount_index": 1,
    "to_wallet_id": WALLET,
    "asset": "USDC",
    "amount": 1,
}
PROXY_ID: Final = {"x-request-id": "11111111-2222-4333-8444-555555555555"}
OTHER_ID: Final = str(uuid_v7(2, bytes(10)))


@pytest.mark.parametrize("failure", [Silence("ConnectError", sent=False), LOST, refusal(503, "UNAVAILABLE")])
def test_signed_request_is_repeated_until_its_window_ends(failure: Told) -> None:
    """However many attempts that takes: pauses grow, and no last one uses the time up."""
    machine = StillMachine()
    sent, result = hold(start(machine=machine), machine, [failure] * 99)
    with pytest.raises(SealgateError):
        result()
    assert 14 < machine.now < 15
    assert machine.pauses == sorted(machine.pauses)
    assert machine.pauses[0] < machine.pauses[3]
    assert len({item.request.body for item in sent}) == 1


def test_repeats_end_with_the_time_or_the_attempts_that_the_caller_gave() -> None:
    """Both are the caller's to choose; a call without a signature has its four attempts as before."""
    machine = StillMachine()
    hold(start(machine=machine, timeout_seconds=4), machine, [LOST] * 99)
    assert 2 < machine.now < 4
    sent, _ = hold(start(policy=RetryPolicy(attempts_count=2)), StillMachine(), [LOST] * 99)
    assert len(sent) == 2


def test_window_of_an_older_id_ends_sooner() -> None:
    """It is the id's age that counts, not the call's; one that seems to be over is sent all the same."""
    older = str(uuid_v7(START_NS // 1_000_000 - 10_000, bytes(10)))
    machine = StillMachine()
    hold(start(machine=machine, request_id=older), machine, [LOST] * 99)
    assert 3 < machine.now < 5
    stale = str(uuid_v7(START_NS // 1_000_000 - 60_000, bytes(10)))
    sent, _ = hold(start(request_id=stale), StillMachine(), [refusal(400, "REQUEST_TIMESTAMP_SKEW")])
    assert (len(sent), sent[0].timeout_seconds) == (1, 1)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(504, {}, b"<html>"),
        Reply(504, PROXY_ID, b"<html>"),
        Reply(200, {}, b"<html>"),
        Reply(200, PROXY_ID, b'{"succ'),
        Reply(400, PROXY_ID, refusal(400, "VALIDATION_ERROR").body),
    ],
)
def test_error_has_the_signed_id_whatever_answered(reply: Reply) -> None:
    """By it `wait_outcome` asks; an id that a proxy made up finds nothing."""
    machine = StillMachine()
    _, result = hold(start(machine=machine), machine, [reply] * 99)
    with pytest.raises(SealgateError) as caught:
        result()
    assert caught.value.request_id == OWN_ID


def transfer(**changes: object) -> Reply:
    moved = {name: TRANSFER[name] for name in ("from_wallet_id", "to_wallet_id", "asset")}
    done = answer(transfer=moved | {"amount": "1", "txn_seq": 1})
    return Reply(200, {}, json.dumps(json.loads(done.body) | changes).encode())


@pytest.mark.parametrize(
    ("reply", "complaint"),
    [
        (transfer(request_id=OTHER_ID), "request_id"),
        (transfer(status=Status.TRANSFER_INVALID), "success contradicts status"),
        (transfer(success=False), "success contradicts status"),
        (transfer(transfer=None), "what was done is not there"),
        (repeat(same_payload=True, request_type=6, transfer=None), "what was done is not there"),
        (repeat(same_payload=True, request_id=OTHER_ID), "request_id"),
        (repeat(same_payload=False, request_id=OTHER_ID), "request_id"),
        (repeat(same_payload=False, success=False), "success contradicts status"),
    ],
)
def test_answer_that_cannot_be_this_requests_is_unexpected(reply: Reply, complaint: str) -> None:
    """Another's outcome, one that says two things at once, or one that says done and not what."""
    steps = start(signed_operations.SUBMIT_TRANSFER_FUNDS, arguments=TRANSFER)
    _, result = hold(steps, StillMachine(), [reply])
    with pytest.raises(UnexpectedAnswerError, match=complaint) as caught:
        result()
    assert (caught.value.request_id, caught.value.maybe_done) == (OWN_ID, True)


def test_done_without_anything_to_show_is_done_where_that_can_be() -> None:
    """No order was there to be cancelled; and what a newer platform did is not known here."""
    _, result = hold(start(), StillMachine(), [answer()])
    assert result().order_ids == ()
    for request_type in (3, 99):
        _, result = waited(StillMachine(), [looked_up(order_ids=[], request_type=request_type)])
        assert result().success


@pytest.mark.parametrize("amount", ["1e9999999", "1e-9999999", "0e-9999999", 10**200, "1" * 200])
def test_number_of_no_sensible_length_is_refused(amount: object) -> None:
    """Before it is written out, let alone sent."""
    steps = start(signed_operations.SUBMIT_TRANSFER_FUNDS, arguments={**TRANSFER, "amount": amount})
    sent, result = hold(steps, StillMachine(), [transfer()])
    with pytest.raises(ValueError, match="digits"):
        result()
    assert sent == []


def waited(machine: StillMachine, answers: list[Told], timeout_seconds: float = 30.0) -> tuple[int, Any]:
    with Sealgate("http://api.example.com", api_key="sk_secret", machine=machine) as client:
        steps = client._await_outcome(operations.GET_REQUEST, OWN_ID, timeout_seconds)
        sent, result = hold(steps, machine, answers)
    return len(sent), result


def looked_up(status: object = Status.COMPLETED, **changes: object) -> Reply:
    document = json.loads(repeat(same_payload=True, status=str(status)).body)["original"]
    return Reply(200, {}, json.dumps(document | changes).encode())


MISSING: Final = refusal(404, "REQUEST_NOT_FOUND", retry_after="1")


def test_outcome_is_waited_for_as_long_as_the_platform_says_so() -> None:
    """Second by second to an outcome: here, that it never ran."""
    machine = StillMachine()
    count, result = waited(machine, [MISSING, MISSING, MISSING, looked_up(Status.NEVER_RAN)])
    assert result().status == RequestStatus.NEVER_RAN
    assert (count, machine.pauses) == (4, [1, 1, 1])


def test_waiting_ends_when_there_is_nothing_to_wait_for() -> None:
    """A request of more than a week ago, and one whose time is not over when the caller's is."""
    count, result = waited(StillMachine(), [refusal(404, "REQUEST_NOT_FOUND")])
    with pytest.raises(RequestNotFound):
        result()
    assert count == 1
    count, result = waited(StillMachine(), [MISSING] * 9, timeout_seconds=3.5)
    with pytest.raises(RequestNotFound):
        result()
    assert count == 4


def test_waiting_lasts_through_an_outage() -> None:
    """Lost lines, servers that are away and limits pass, and then the outcome is there."""
    machine = StillMachine()
    outage: list[Told] = [
        LOST,
        Silence("ConnectError", sent=False),
        refusal(503, "UNAVAILABLE"),
        Reply(504, {}, b"<html>"),
        refusal(429, "RATE_LIMITED", retry_after="3"),
    ]
    _, result = waited(machine, [*outage, MISSING, *outage, looked_up()])
    assert result().status == RequestStatus.COMPLETED


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (LOST, TransportError),
        (refusal(503, "UNAVAILABLE"), Unavailable),
        (refusal(503, "UNAVAILABLE", retry_after="300"), Unavailable),
    ],
)
def test_outage_is_told_when_the_time_is_over(failure: Told, error: type[SealgateError]) -> None:
    """Not before: whoever gave it half a minute has not less."""
    machine = StillMachine()
    _, result = waited(machine, [failure] * 99)
    with pytest.raises(error):
        result()
    assert 28 <= machine.now < 30


@pytest.mark.parametrize(
    "failure",
    [refusal(404, "REQUEST_NOT_FOUND", retry_after="0"), refusal(503, "OVERLOADED", retry_after="0")],
)
def test_nobody_is_asked_more_than_once_a_second(failure: Told) -> None:
    """Also when the answer says that it may be at once."""
    machine = StillMachine()
    count, _ = waited(machine, [failure] * 99)
    assert min(machine.pauses) >= 1
    assert count <= 30


@pytest.mark.parametrize("code", ["SESSION_INVALID", "MISSING_CREDENTIALS"])
def test_waiting_does_not_help_against_a_refusal(code: str) -> None:
    """A credential that does not read does not read later either."""
    count, result = waited(StillMachine(), [refusal(401, code)] * 9)
    with pytest.raises(SealgateError):
        result()
    assert count == 1


@pytest.mark.parametrize(
    "changes", [{"request_id": OTHER_ID}, {"success": False}, {"order_ids": [], "request_type": 6}]
)
def test_outcome_of_another_request_is_unexpected(changes: dict[str, object]) -> None:
    """Whether it is waited for or looked up once."""
    _, result = waited(StillMachine(), [looked_up(**changes)])
    with pytest.raises(UnexpectedAnswerError):
        result()
    steps = converse(
        operations.GET_REQUEST,
        {"request_id": OWN_ID},
        credential={},
        policy=RetryPolicy(),
        timeout_seconds=30,
        machine=StillMachine(),
    )
    with pytest.raises(UnexpectedAnswerError):
        hold(steps, StillMachine(), [looked_up(**changes)])[1]()


def test_waiting_needs_time() -> None:
    """A deadline in the past is a mistake of the caller's."""
    with pytest.raises(ValueError, match="time"):
        next(await_outcome(lambda _: start(), timeout_seconds=0, machine=StillMachine()))
