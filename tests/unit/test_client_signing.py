"""What the client signs, how it repeats what it signed, and how it waits for an outcome."""

from __future__ import annotations

import base64
import json
import os
import pickle
import resource
import stat
import time
import uuid
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given
from hypothesis import strategies as st

from chassis.signing import Status, payload_message, verify
from chassis.testing.fakes import START_NS
from sealgate.client import (
    AsyncSealgate,
    KeyFileError,
    KeyPair,
    OrderType,
    RequestOutcome,
    RequestRefused,
    RequestStatus,
    RequestTimestampSkew,
    RetryPolicy,
    Sealgate,
    Side,
    Signer,
    SubmitCancelAllOrdersResult,
    TransportError,
    Unavailable,
    bodies,
    signed_operations,
)
from sealgate.client.core import Conversation, Reply, Send, Silence, Told
from sealgate.client.machine import SystemMachine, uuid_v7
from sealgate.client.signed_call import SignedOperation, converse_signed
from sealgate.client.wire import Body, Field, Kind
from sealgate.wallet.v1 import signed_body_pb2  # noqa: F401 - brings the messages into the pool
from tests.client_support import StillMachine, hold
from tests.unit.test_client_retry import refusal

ACCOUNT: Final = "019b76da-a800-7ac0-8c01-000000000001"
WALLET: Final = "019b76da-a800-7a11-8e01-000000000003"
AUDIENCE: Final = "api.example.com"
OWN_ID: Final = str(uuid_v7(START_NS // 1_000_000, bytes(10)))
LOST: Final = Silence("ReadError", sent=True)
TABLES: Final = [value for value in vars(bodies).values() if isinstance(value, Body)]


def signer(audience: str | None = AUDIENCE) -> Signer:
    return Signer(KeyPair(bytes(32)), ACCOUNT, audience=audience)


def start(
    operation: SignedOperation[Any] = signed_operations.SUBMIT_CANCEL_ALL_ORDERS,
    machine: StillMachine | None = None,
    policy: RetryPolicy | None = None,
    timeout_seconds: float = 30.0,
    arguments: Mapping[str, object] | None = None,
    request_id: str | None = OWN_ID,
) -> Conversation[Any]:
    return converse_signed(
        operation,
        {"subaccount_index": 0, "wallet_id": WALLET} if arguments is None else arguments,
        signer=signer(),
        policy=policy or RetryPolicy(),
        timeout_seconds=timeout_seconds,
        machine=machine or StillMachine(),
        request_id=request_id,
    )


def answer(status: str = Status.COMPLETED, **more: object) -> Reply:
    members = {
        "success": status == Status.COMPLETED,
        "status": status,
        "processed_at_ns": 5,
        "request_id": OWN_ID,
        "details": [],
        "original": None,
        "same_payload": None,
        "order_ids": [],
    }
    return Reply(200, {"x-request-id": "r"}, json.dumps(members | more).encode())


def repeat(*, same_payload: bool, status: str = Status.COMPLETED, **more: object) -> Reply:
    original = {
        "success": status == Status.COMPLETED,
        "status": status,
        "processed_at_ns": 3,
        "request_id": OWN_ID,
        "details": [],
        "request_type": 3,
        "order": None,
        "order_ids": ["first"],
        "transfer": None,
        "withdrawal": None,
        "wallet": None,
        "subaccount": None,
        "address": None,
    }
    return answer(Status.DUPLICATE, original=original | more, same_payload=same_payload)


def test_attempts_send_the_same_bytes_under_the_same_id() -> None:
    """It is signed once: whatever is lost on the way, the platform can tell that it is one request."""
    machine = StillMachine()
    answers: list[Told] = [LOST, refusal(503, "UNAVAILABLE"), refusal(504, "DEADLINE_EXCEEDED"), answer()]
    sent, result = hold(start(machine=machine), machine, answers)
    assert result().success
    assert len(sent) == 4
    assert len({(item.request.body, tuple(sorted(item.request.headers.items()))) for item in sent}) == 1


def test_payload_goes_alone_without_credential_or_idempotency_key() -> None:
    """The envelope is the whole body, and its id is the one in the logs."""
    sent, _ = hold(start(), StillMachine(), [answer()])
    request = sent[0].request
    assert (request.verb, request.target) == ("POST", "/api/v1/trading/order/cancel-all")
    envelope = json.loads(request.body or b"")
    assert set(envelope) == {"payload", "signature", "public_key", "account_id"}
    payload = base64.b64decode(envelope["payload"])
    assert request.headers == {
        "content-type": "application/json",
        "x-request-id": str(uuid.UUID(bytes=payload[8:24])),
    }
    message = payload_message(AUDIENCE, uuid.UUID(ACCOUNT), payload)
    assert verify(signer().key.public_key, message, base64.b64decode(envelope["signature"]))


@pytest.mark.parametrize(
    ("operation", "arguments", "target", "body"),
    [
        (signed_operations.LIST_DEVICE_KEYS, {}, "/api/v1/device-keys", None),
        (signed_operations.CREATE_DEVICE_KEY, {"name": "phone"}, "/api/v1/login", b'{"name":"phone"}'),
        (signed_operations.DELETE_DEVICE_KEY, {"device_key_id": "d"}, "/api/v1/device-keys/d/delete", b"{}"),
    ],
)
def test_request_signed_in_headers_is_sent_as_it_was_signed(
    operation: SignedOperation[Any], arguments: dict[str, object], target: str, body: bytes | None
) -> None:
    """Path, body and the four headers; a body says what it is."""
    sent, _ = hold(start(operation, arguments=arguments), StillMachine(), [answer()])
    request = sent[0].request
    assert (request.target, request.body) == (target, body)
    request_id = uuid.UUID(request.headers["x-request-id"])
    expected = signer().headers(request.verb, target, body or b"", request_id)
    extra = {} if body is None else {"content-type": "application/json"}
    assert request.headers == expected | extra


def test_repeat_is_answered_as_the_first_was() -> None:
    """After an answer that was lost, the outcome is the first one's, and says that it was a repeat."""
    machine = StillMachine()
    _, result = hold(start(machine=machine), machine, [LOST, repeat(same_payload=True)])
    outcome = result()
    assert (outcome.success, outcome.status, outcome.processed_at_ns) == (True, Status.COMPLETED, 3)
    assert outcome.order_ids == ("first",)
    assert isinstance(outcome.original, RequestOutcome)


def test_repeat_of_a_refusal_is_that_refusal() -> None:
    """What was refused for good stays refused."""
    machine = StillMachine()
    lost_refusal = repeat(same_payload=True, status=Status.ROLE)
    _, result = hold(start(machine=machine), machine, [LOST, lost_refusal])
    assert (result().success, result().status) == (False, Status.ROLE)


def test_caller_who_repeats_gets_the_first_outcome() -> None:
    """After a crash, say, with an id that was written down: it shows that nothing was done now."""
    _, result = hold(start(), StillMachine(), [repeat(same_payload=True, original=None)])
    assert (result().success, result().order_ids, result().same_payload) == (True, ("first",), True)
    assert result().original is not None


def test_id_of_another_request_is_told() -> None:
    """Somebody used the id before, for another payload: nothing of that is the answer."""
    machine = StillMachine()
    _, result = hold(start(machine=machine), machine, [LOST, repeat(same_payload=False)])
    assert (result().success, result().status) == (False, Status.DUPLICATE)


def test_nothing_is_sent_after_the_window() -> None:
    """Past 15 seconds the platform takes it no more: the error says that it may have been done."""
    machine = StillMachine()
    policy = RetryPolicy(attempts_count=100)
    busy = refusal(503, "UNAVAILABLE", retry_after="4")
    sent, result = hold(start(machine=machine, policy=policy, timeout_seconds=300), machine, [busy] * 100)
    with pytest.raises(Unavailable) as caught:
        result()
    assert machine.now < 15
    assert len(sent) == 4
    assert caught.value.maybe_done
    assert all(item.timeout_seconds <= 15 for item in sent)


def test_error_without_answer_has_the_signed_id() -> None:
    """By it `wait_outcome` finds out what became of the request."""
    machine = StillMachine()
    sent, result = hold(start(machine=machine, request_id=None), machine, [LOST] * 99)
    with pytest.raises(TransportError) as caught:
        result()
    assert caught.value.request_id == sent[0].request.headers["x-request-id"]


def test_skew_is_not_repeated() -> None:
    """A clock that is wrong stays wrong."""
    sent, result = hold(start(), StillMachine(), [refusal(400, "REQUEST_TIMESTAMP_SKEW")])
    with pytest.raises(RequestTimestampSkew):
        result()
    assert len(sent) == 1


def test_own_request_id_is_signed() -> None:
    """For who wants to know it before anything is sent; one without a time in it is refused."""
    sent, _ = hold(start(), StillMachine(), [answer()])
    assert sent[0].request.headers["x-request-id"] == OWN_ID
    for bad in (str(uuid.UUID(int=0)), str(uuid.uuid5(uuid.NAMESPACE_DNS, "x")), "mine"):
        with pytest.raises(ValueError, match=r"UUID"):
            hold(start(request_id=bad), StillMachine(), [answer()])[1]()
    for wrong in (7, b"mine", 1.5):
        with pytest.raises(TypeError, match="request_id"):
            hold(start(request_id=wrong), StillMachine(), [answer()])[1]()  # type: ignore[arg-type]


def test_refused_outcome_is_raised_when_it_is_asked_to() -> None:
    """`raise_for_status` gives the outcome back when it is good, and else has status, reasons and id."""
    _, result = hold(start(), StillMachine(), [answer()])
    outcome: SubmitCancelAllOrdersResult = result()
    assert outcome.raise_for_status() is outcome
    details = [{"path": "wallet_id", "message": "is not there"}]
    _, result = hold(start(), StillMachine(), [answer(Status.ORDER_INVALID, details=details)])
    with pytest.raises(RequestRefused, match="wallet_id: is not there") as caught:
        result().raise_for_status()
    assert caught.value.code == RequestStatus.ORDER_INVALID
    assert caught.value.request_id == result().request_id


@pytest.mark.parametrize(
    ("url", "audience"),
    [
        ("https://api.example.com", "api.example.com"),
        ("https://API.Example.com:443/", "api.example.com"),
        ("http://127.0.0.1:8080", "127.0.0.1:8080"),
        ("https://gate.example.com:8443/sealgate", "gate.example.com:8443"),
    ],
)
def test_audience_is_what_the_client_dials(url: str, audience: str) -> None:
    """From the client's own configuration, and never from an answer; a signer's own goes before."""
    sent: list[dict[str, str]] = []

    def serve(request: httpx.Request) -> httpx.Response:
        sent.append(json.loads(request.content))
        return httpx.Response(200, content=answer(request_id=request.headers["x-request-id"]).body)

    with httpx.Client(transport=httpx.MockTransport(serve)) as http:
        client = Sealgate(url, signer=signer(None), http=http, machine=StillMachine())
        assert client.audience == audience
        client.submit_cancel_all_orders(subaccount_index=0, wallet_id=WALLET)
        client.with_signer(signer()).submit_cancel_all_orders(subaccount_index=0, wallet_id=WALLET)
    for envelope, name in zip(sent, (audience, AUDIENCE), strict=True):
        message = payload_message(name, uuid.UUID(ACCOUNT), base64.b64decode(envelope["payload"]))
        key, signature = base64.b64decode(envelope["public_key"]), base64.b64decode(envelope["signature"])
        assert verify(key, message, signature)


def test_credential_and_signer_stand_beside_each_other() -> None:
    """One changes without the other, and what is signed goes without the credential."""
    seen: list[httpx.Headers] = []

    def serve(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers)
        return httpx.Response(200, content=answer(request_id=request.headers["x-request-id"]).body)

    with httpx.Client(transport=httpx.MockTransport(serve)) as http:
        client = Sealgate("http://api.example.com", signer=signer(), http=http).with_api_key("sk_secret")
        client.submit_cancel_all_orders(subaccount_index=0, wallet_id=WALLET)
        assert "x-api-key" not in seen[0]
        assert "api_key=…" in repr(client.with_signer(signer()))
    with pytest.raises(ValueError, match="with_signer"):
        Sealgate("http://api.example.com").submit_list_session_keys()


def test_private_key_is_in_no_text() -> None:
    """Neither a pair, nor a signer, nor a client shows it."""
    pair = KeyPair(b"\x07" * 32)
    client = AsyncSealgate("http://api.example.com", signer=Signer(pair, ACCOUNT))
    secret = (b"\x07" * 32).hex(), base64.b64encode(b"\x07" * 32).decode(), "\\x07"
    for text in (repr(pair), repr(Signer(pair, ACCOUNT)), repr(client)):
        assert not any(part in text for part in secret)


@pytest.mark.parametrize("audience", ["", "API.example.com", "https://x", "[::1]:8080", "a" * 254, "ü"])
def test_name_that_no_deployment_has_is_refused(audience: str) -> None:
    """A slip in the name is found before anything is signed with it."""
    with pytest.raises(ValueError, match="audience"):
        signer(audience)


def test_request_ids_carry_the_time_and_are_not_guessed() -> None:
    """UUIDv7 by the machine's clock."""
    machine = SystemMachine()
    made = {machine.request_id() for _ in range(100)}
    assert len(made) == 100
    assert {item.version for item in made} == {7}
    assert uuid_v7(0x0123456789AB, b"\xff" * 10) == uuid.UUID("01234567-89ab-7fff-bfff-ffffffffffff")


def test_key_that_could_not_be_saved_leaves_no_file(tmp_path: Path) -> None:
    """Where the disk is full, the same name is good again when it is not."""
    path, limits = tmp_path / "some.key", resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            KeyPair(bytes(32)).save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    KeyPair(bytes(32)).save(path)
    assert KeyPair.load(path).public_key == KeyPair(bytes(32)).public_key


def test_saved_key_is_loaded_again_and_no_other_file_is_touched(tmp_path: Path) -> None:
    """What `save` writes, `load` reads; a directory or a missing file says what is wrong."""
    path = tmp_path / "some.key"
    previous = os.umask(0)
    try:
        KeyPair(bytes(range(32))).save(path)
    finally:
        os.umask(previous)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert KeyPair.load(path).public_key == KeyPair(bytes(range(32))).public_key
    with pytest.raises(KeyFileError, match="never written over: take another name"):
        KeyPair(bytes(32)).save(path)
    os.mkfifo(tmp_path / "pipe", 0o600)
    for other in (tmp_path, tmp_path / "missing", tmp_path / "pipe", Path(os.devnull)):
        with pytest.raises(KeyFileError, match=str(other)):
            KeyPair.load(other)


def test_file_full_of_spaces_is_refused_at_once(tmp_path: Path) -> None:
    """How long it takes grows with the file's length, and not with its third power."""
    path = tmp_path / "some.key"
    path.touch(0o600)
    path.write_text("-----BEGIN PRIVATE KEY-----" + " " * 4000)
    started = time.process_time()
    with pytest.raises(KeyFileError):
        KeyPair.load(path)
    assert time.process_time() - started < 1


def test_key_pair_is_not_pickled() -> None:
    """Nor is what holds one: its private half would be in the bytes."""
    for holder in (KeyPair(bytes(32)), signer()):
        with pytest.raises(TypeError, match="pickled"):
            pickle.dumps(holder)


def values_of(field: Field) -> st.SearchStrategy[Any]:
    by_kind: dict[Kind, st.SearchStrategy[Any]] = {
        Kind.UINT32: st.integers(0, 2**32 - 1),
        Kind.UINT64: st.integers(0, 2**64 - 1),
        Kind.INT64: st.integers(-(2**63), 2**63 - 1),
        Kind.BOOL: st.booleans(),
        Kind.ENUM: st.sampled_from(sorted(field.numbers) or [""]),
        Kind.STRING: st.text(),
        Kind.BYTES: st.binary(),
    }
    return st.none() | by_kind[field.kind] if field.optional else by_kind[field.kind]


BODIES: Final = st.sampled_from(TABLES).flatmap(
    lambda table: st.tuples(
        st.just(table), st.fixed_dictionaries({field.name: values_of(field) for field in table.fields})
    )
)


@given(BODIES)
def test_body_is_what_protobuf_makes_of_it(case: tuple[Body, dict[str, Any]]) -> None:
    """For every message and all values of its fields: the same bytes, and back again."""
    table, arguments = case
    package = "keys" if f"sealgate.keys.v1.{table.name}" in _known() else "wallet"
    descriptor = descriptor_pool.Default().FindMessageTypeByName(f"sealgate.{package}.v1.{table.name}")
    message = GetMessageClass(descriptor)()
    present = {name: value for name, value in arguments.items() if value is not None}
    for field in table.fields:
        if field.name in present:
            value = present[field.name]
            setattr(message, field.name, field.numbers[value] if field.kind is Kind.ENUM else value)
    encoded = table.encode(arguments)
    assert encoded == message.SerializeToString(deterministic=True)
    assert table.decode(encoded) == present


def _known() -> set[str]:
    from sealgate.keys.v1 import signing_key_pb2

    return {message.full_name for message in signing_key_pb2.DESCRIPTOR.message_types_by_name.values()}


@given(st.sampled_from(TABLES), st.binary(max_size=40))
def test_decoding_junk_ends_in_value_error_or_in_the_same_bytes(table: Body, data: bytes) -> None:
    """Nothing but a canonical body is read."""
    try:
        decoded = table.decode(data)
    except ValueError:
        return
    assert table.encode(decoded) == data


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"subaccount_index": -1}, "subaccount_index"),
        ({"subaccount_index": 2**32}, "subaccount_index"),
        ({"subaccount_index": True}, "subaccount_index"),
        ({"subaccount_index": None}, "subaccount_index has to be given"),
        ({"side": "HEDGE"}, "side has to be one of BUY, SELL"),
        ({"wallet_id": 7}, "wallet_id has to be text"),
        ({"wallet_id": "\ud800"}, "wallet_id has to be text"),
        ({"post_only": 1}, "post_only has to be true or false"),
    ],
)
def test_value_that_a_field_cannot_hold_is_refused(changes: dict[str, object], complaint: str) -> None:
    """Before it is signed, with the name of the field."""
    good = {
        "subaccount_index": 0,
        "wallet_id": WALLET,
        "token_id": "1",
        "side": Side.BUY,
        "type": OrderType.LIMIT,
        "amount": "1",
        "units": "SHARES",
    }
    bodies.PLACE_ORDER.encode(good)
    with pytest.raises(ValueError, match=complaint):
        bodies.PLACE_ORDER.encode(good | changes)


def test_amounts_are_signed_as_they_were_given() -> None:
    """Decimals keep their digits; a float is refused."""
    arguments = {
        "from_subaccount_index": 0,
        "from_wallet_id": WALLET,
        "to_subaccount_index": 1,
        "to_wallet_id": WALLET,
        "asset": "USDC",
        "amount": Decimal("1E+1"),
    }
    sent, _ = hold(
        start(signed_operations.SUBMIT_TRANSFER_FUNDS, arguments=arguments), StillMachine(), [answer()]
    )
    payload = base64.b64decode(json.loads(_body(sent))["payload"])
    assert bodies.TRANSFER_FUNDS.decode(payload[24:])["amount"] == "10"
    with pytest.raises(TypeError):
        hold(
            start(signed_operations.SUBMIT_TRANSFER_FUNDS, arguments=arguments | {"amount": 0.1}),
            StillMachine(),
            [answer()],
        )[1]()


def _body(sent: list[Send]) -> bytes:
    return sent[0].request.body or b""
