"""No exception text leaves the process: a secret is planted at every layer and looked for everywhere."""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NoReturn
from uuid import UUID

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from chassis.clock import SystemClock
from chassis.config import RateLimitsConfig
from chassis.errors import Code, SealgateError
from chassis.identity import PassportVerifier
from chassis.ids import SystemIds
from chassis.log import JsonFormatter
from chassis.methods import Method, method_table
from chassis.ratelimit import ProcessRateLimiter
from chassis.rpc.authn import PUBLIC_EXPOSURES, AuthenticationStage
from chassis.rpc.client import open_channel
from chassis.rpc.credentials import PresentedCredential
from chassis.rpc.errors import Handler, error_from_rpc
from chassis.rpc.limiting import CallLimits, RateLimitStage
from chassis.rpc.pipeline import (
    AdmissionStage,
    DeadlineStage,
    ErrorStage,
    LogStage,
    MessageStage,
    PipelineInterceptor,
    Stage,
)
from sealgate.auth.v1 import identity_pb2, session_pb2
from tests.contract.rpc_harness import (
    AUDIENCE,
    CREATE_SESSION,
    CURRENT_SESSION,
    OPEN,
    Harness,
    Issuer,
    Script,
    fixed_ring,
    raw_call,
    scripted_services,
    serving,
    status_for,
    wire_failure,
)

MARKER = "planted-7d1f0c"
PLANTED = (
    f"{MARKER} sk_{MARKER}{'A' * 34} eyJhbGciOiJFZERTQSJ9.{MARKER}.c2ln "
    f"postgresql://sealgate:{MARKER}@db.internal/auth password={MARKER}"
)
BEARER = (("authorization", "Bearer token"),)


class UnprintableError(Exception):
    """An exception that even refuses to say what it is."""

    def __str__(self) -> str:
        raise RuntimeError(PLANTED)


class Everywhere:
    """All that a caller or an operator could read of a call."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture
        self._log = io.StringIO()
        self._wire: list[str] = []

    def install(self) -> logging.Handler:
        """The handler that writes what `configure_logging` would write."""
        handler = logging.StreamHandler(self._log)
        handler.setFormatter(JsonFormatter("test"))
        return handler

    def note(self, failure: grpc.aio.AioRpcError) -> None:
        """Takes down everything that arrived at the client."""
        self._wire += [str(failure.details()), repr(failure), str(failure.debug_error_string())]
        for metadata in (failure.initial_metadata(), failure.trailing_metadata()):
            for key, value in metadata or ():
                self._wire += [key, value if isinstance(value, str) else value.decode("latin-1")]

    def text(self) -> str:
        """Wire, log lines, standard output and standard error."""
        captured = self._capture.readouterr()
        return "\n".join([*self._wire, self._log.getvalue(), captured.out, captured.err])


@pytest.fixture
def everywhere(capfd: pytest.CaptureFixture[str]) -> Any:  # noqa: ANN401  (a generator fixture)
    """Collects wire and log of a test, and finds the marker nowhere in them at its end."""
    collected = Everywhere(capfd)
    handler = collected.install()
    root = logging.getLogger()
    others, level = root.handlers[:], root.level
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG)
    yield collected
    root.handlers[:] = others
    root.setLevel(level)
    text = collected.text()
    assert "chassis.rpc" in text, "nothing was logged, so nothing was tested"
    assert MARKER not in text


def error_of(failure: grpc.aio.AioRpcError) -> SealgateError:
    """The error on the wire, which must be one of ours."""
    error = error_from_rpc(failure, "test")
    assert not error.internal, f"a bare {failure.code()} came back"
    return error


async def raise_planted(*_: object) -> NoReturn:
    """Fails with everything that must not be seen."""
    raise ValueError(PLANTED)


async def raise_chain(*_: object) -> NoReturn:
    """Fails because of a failure that has the secret."""
    try:
        raise KeyError(PLANTED)
    except KeyError as error:
        raise RuntimeError("connection lost") from error


async def raise_group(*_: object) -> NoReturn:
    """Fails in a task group."""
    async with asyncio.TaskGroup() as group:
        group.create_task(raise_planted())
    raise AssertionError("unreachable")


async def raise_cancelled(*_: object) -> NoReturn:
    """Fails by a cancellation that nobody asked for."""
    raise asyncio.CancelledError(PLANTED)


async def raise_timeout(*_: object) -> NoReturn:
    """Fails by a timeout that is not the call's."""
    raise TimeoutError(PLANTED)


async def raise_unprintable(*_: object) -> NoReturn:
    """Fails with an exception whose text cannot be had."""
    raise UnprintableError


async def raise_foreign_rpc_error(*_: object) -> NoReturn:
    """Fails as a stub does that was called without the chassis."""
    metadata = grpc.aio.Metadata(("x-debug", PLANTED))
    raise grpc.aio.AioRpcError(grpc.StatusCode.NOT_FOUND, metadata, metadata, details=PLANTED)


async def raise_abort_error(*_: object) -> NoReturn:
    """Fails with gRPC's own exception for an aborted call."""
    raise grpc.aio.AbortError(PLANTED)


async def set_status_then_raise(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> NoReturn:  # noqa: ANN401
    """Fails after writing the secret into the call's own status."""
    context.set_code(grpc.StatusCode.DATA_LOSS)
    context.set_details(PLANTED)
    context.set_trailing_metadata((("x-debug", PLANTED),))
    raise ValueError(PLANTED)


async def answer_text(*_: object) -> str:
    """Answers something that is no message."""
    return PLANTED


async def answer_nothing(*_: object) -> None:
    """Forgets to answer."""


async def answer_another_message(*_: object) -> session_pb2.IssuedSession:
    """Answers a message of another method, which would even serialize."""
    return session_pb2.IssuedSession(session_token=PLANTED)


HANDLERS = (
    raise_planted,
    raise_chain,
    raise_group,
    raise_cancelled,
    raise_timeout,
    raise_unprintable,
    raise_foreign_rpc_error,
    raise_abort_error,
    set_status_then_raise,
    answer_text,
    answer_nothing,
    answer_another_message,
)


@pytest.fixture
async def harness(short_directory: Path) -> AsyncIterator[Harness]:
    """A server as it runs in production."""
    clock = SystemClock()
    async with serving(clock, SystemIds(clock), short_directory) as running:
        yield running


@pytest.mark.parametrize("side", ["public", "internal"])
@pytest.mark.parametrize("behaviour", HANDLERS, ids=lambda behaviour: behaviour.__name__)
async def test_caller_reads_no_exception_text_when_a_handler_fails(
    harness: Harness,
    everywhere: Everywhere,
    behaviour: Callable[[Any, Any], Awaitable[Any]],
    side: str,
) -> None:
    """However a handler fails, the answer is INTERNAL and says nothing more."""
    harness.script.behaviours[OPEN] = behaviour
    failure = await wire_failure(getattr(harness, side), OPEN)
    everywhere.note(failure)
    error = error_of(failure)
    assert (error.code, error.details) == (Code.INTERNAL, ())
    assert failure.code() is grpc.StatusCode.INTERNAL


@pytest.mark.parametrize("side", ["public", "internal"])
async def test_caller_reads_no_bytes_of_the_request_when_it_cannot_be_read(
    harness: Harness, everywhere: Everywhere, side: str
) -> None:
    """Unreadable bytes are not quoted back, nor logged."""
    body = b"\x0a\xff" + PLANTED.encode()
    failure = await wire_failure(getattr(harness, side), OPEN, body)
    everywhere.note(failure)
    assert error_of(failure).code is Code.VALIDATION_ERROR


async def test_log_keeps_secrets_out_when_an_internal_reason_holds_one(
    harness: Harness, everywhere: Everywhere
) -> None:
    """The reason for the log is redacted too, and stays in the log."""

    async def refuse(request: Any, context: Any) -> NoReturn:  # noqa: ANN401
        raise SealgateError(Code.ACCOUNT_NOT_FOUND, internal=PLANTED.removeprefix(MARKER))

    harness.script.behaviours[OPEN] = refuse
    failure = await wire_failure(harness.public, OPEN)
    everywhere.note(failure)
    assert error_of(failure).code is Code.ACCOUNT_NOT_FOUND


class FailingExchanger:
    """An exchanger that breaks."""

    async def exchange(self, credential: PresentedCredential, subject_account_id: str | None) -> bytes:
        """See `chassis.rpc.exchange.Exchanger`."""
        raise ConnectionError(PLANTED)


class FailingClock(SystemClock):
    """A clock that breaks."""

    def monotonic_ns(self) -> int:
        """See `chassis.clock.Clock`."""
        raise OSError(PLANTED)


class FailingIds(SystemIds):
    """A source of identifiers that breaks."""

    def uuid7(self) -> UUID:
        """See `chassis.ids.Ids`."""
        raise OSError(PLANTED)


async def failing_key_lookup() -> Mapping[str, bytes]:
    """A look-up of auth's keys that breaks."""
    raise ConnectionError(PLANTED)


async def nonsense_key_lookup() -> Mapping[str, bytes]:
    """A look-up of auth's keys that answers no keys."""
    return {fixed_ring().signing_key(1).kid: PLANTED.encode()}


@pytest.mark.parametrize(
    ("look_up", "code"),
    [(failing_key_lookup, Code.INTERNAL), (nonsense_key_lookup, Code.CREDENTIAL_NOT_ACCEPTED)],
)
async def test_caller_reads_no_exception_text_when_the_verifier_fails(
    short_directory: Path,
    everywhere: Everywhere,
    look_up: Callable[[], Awaitable[Mapping[str, bytes]]],
    code: Code,
) -> None:
    """The look-up of auth's keys may break in any way."""
    clock = SystemClock()
    verifier = PassportVerifier(AUDIENCE, clock, look_up)
    async with serving(clock, SystemIds(clock), short_directory, verifier=verifier) as harness:
        failure = await wire_failure(harness.internal, CURRENT_SESSION, metadata=harness.as_session())
        everywhere.note(failure)
        assert error_of(failure).code is code


async def test_caller_reads_no_exception_text_when_the_exchanger_fails(
    short_directory: Path, everywhere: Everywhere
) -> None:
    """The exchange of a credential may break in any way."""
    clock = SystemClock()
    async with serving(clock, SystemIds(clock), short_directory, exchanger=FailingExchanger()) as harness:
        failure = await wire_failure(harness.public, CURRENT_SESSION, metadata=BEARER)
        everywhere.note(failure)
        assert error_of(failure).code is Code.INTERNAL


@pytest.mark.parametrize("part", ["clock", "ids"])
async def test_caller_reads_no_exception_text_when_clock_or_ids_fail(
    short_directory: Path, everywhere: Everywhere, part: str
) -> None:
    """Not even what opens a request's context can leak."""
    clock = FailingClock() if part == "clock" else SystemClock()
    ids = FailingIds(clock) if part == "ids" else SystemIds(clock)
    async with serving(clock, ids, short_directory) as harness:
        failure = await wire_failure(harness.public, OPEN)
        everywhere.note(failure)
        assert error_of(failure).code is Code.INTERNAL


class RaisingStage:
    """A stage that breaks before or after what it wraps, or while it is put together."""

    def __init__(self, moment: str) -> None:
        self._moment = moment

    def wrap(self, method: Method, handler: Handler) -> Handler:
        """See `chassis.rpc.pipeline.Stage`."""
        if self._moment == "composing":
            raise ValueError(PLANTED)

        async def answer(request: Any, context: Any) -> Any:  # noqa: ANN401
            if self._moment == "after":
                await handler(request, context)
            raise ValueError(PLANTED)

        return answer


class RaisingInterceptor(grpc.aio.ServerInterceptor):
    """Somebody else's interceptor, inside of ours, that breaks."""

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> NoReturn:  # noqa: ANN401
        """See grpc."""
        raise ValueError(PLANTED)


class RaisingLookup(grpc.GenericRpcHandler):
    """A handler look-up that breaks."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> NoReturn:
        """See grpc."""
        raise ValueError(PLANTED)


def production_stages(issuer: Issuer) -> list[Stage]:
    """The stages of a public listener, in their order."""
    clock = issuer.clock
    limits = CallLimits(RateLimitsConfig(), clock, ProcessRateLimiter(clock))
    return [
        ErrorStage(SystemIds(clock), trusts_caller=False),
        LogStage(clock),
        AdmissionStage(),
        DeadlineStage(clock),
        MessageStage(),
        AuthenticationStage(PassportVerifier(AUDIENCE, clock, issuer.public_keys), issuer, limits),
        RateLimitStage(limits),
    ]


@asynccontextmanager
async def bare_server(
    stages: list[Stage],
    *,
    inner: tuple[grpc.aio.ServerInterceptor, ...] = (),
    handlers: tuple[grpc.GenericRpcHandler, ...] = (),
) -> AsyncIterator[grpc.aio.Channel]:
    """A grpc server around our interceptor with other people's parts inside of it."""
    services = scripted_services(Script())
    table = method_table(service.descriptor for service in services)
    server = grpc.aio.server(
        interceptors=(PipelineInterceptor(table, PUBLIC_EXPOSURES, stages), *inner),
        options=(("grpc.so_reuseport", 0),),
    )
    server.add_generic_rpc_handlers(handlers)
    if not handlers:
        for service in services:
            service.add_to_server(service.servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    channel = open_channel(f"127.0.0.1:{port}")
    try:
        yield channel
    finally:
        await channel.close()
        await server.stop(0)


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("position", [1, 2, 3, 4, 5, 6])
async def test_caller_reads_no_exception_text_when_a_stage_fails(
    everywhere: Everywhere, position: int, moment: str
) -> None:
    """A stage behind the error stage may break at any place, before or after the handler."""
    issuer = Issuer(SystemClock(), fixed_ring())
    stages = production_stages(issuer)
    stages.insert(position, RaisingStage(moment))
    async with bare_server(stages) as channel:
        failure = await wire_failure(channel, OPEN)
        everywhere.note(failure)
        assert error_of(failure).code is Code.INTERNAL


@pytest.mark.parametrize("where", ["composing", "interceptor", "look-up"])
async def test_caller_reads_no_exception_text_when_no_handler_can_be_had(
    everywhere: Everywhere, where: str
) -> None:
    """What breaks before there is a handler to put the error stage around is hidden too."""
    stages = production_stages(Issuer(SystemClock(), fixed_ring()))
    if where == "composing":
        stages.append(RaisingStage(where))
    inner = (RaisingInterceptor(),) if where == "interceptor" else ()
    handlers = (RaisingLookup(),) if where == "look-up" else ()
    async with bare_server(stages, inner=inner, handlers=handlers) as channel:
        for method in (OPEN, "/not.in.the.Table/AtAll"):
            if where == "composing" and method != OPEN:
                continue
            failure = await wire_failure(channel, method)
            everywhere.note(failure)
            assert error_of(failure).code is Code.INTERNAL


async def test_log_has_no_exception_text_when_a_task_fails_that_nobody_waits_for(
    harness: Harness, everywhere: Everywhere
) -> None:
    """What asyncio says of such a task has the exception's own text; the log keeps the fact only."""

    async def leave_a_task(request: Any, context: Any) -> identity_pb2.GetJsonWebKeySetResponse:  # noqa: ANN401
        task = asyncio.create_task(raise_planted())
        await asyncio.wait([task])
        del task
        return identity_pb2.GetJsonWebKeySetResponse()

    harness.script.behaviours[OPEN] = leave_a_task
    await raw_call(harness.public, OPEN)


async def test_log_has_no_credential_when_a_header_is_not_text(
    harness: Harness, everywhere: Everywhere
) -> None:
    """A credential with a stray byte is neither quoted by gRPC's own log lines nor by ours."""
    secret = f"sk_{MARKER}".encode() + b"\xff"
    headers = {b":path": CREATE_SESSION.encode(), b"x-project-api-key": secret}
    assert (
        await status_for(harness.public_address, headers) == b"16"
    )  # UNAUTHENTICATED: the exchanger did not know it


def test_status_details_of_a_foreign_kind_are_not_passed_on_when_a_peer_sends_them() -> None:
    """A peer's DebugInfo and LocalizedMessage stop at the first of our processes."""
    status = status_pb2.Status(code=13, message=PLANTED)
    status.details.add().Pack(
        error_details_pb2.ErrorInfo(reason="INTERNAL", domain="sealgate", metadata={"x": PLANTED})
    )
    status.details.add().Pack(error_details_pb2.DebugInfo(detail=PLANTED))
    metadata = grpc.aio.Metadata(("grpc-status-details-bin", status.SerializeToString()))
    failure = grpc.aio.AioRpcError(grpc.StatusCode.INTERNAL, metadata, metadata, details=PLANTED)
    error = error_from_rpc(failure, "/test")
    assert MARKER not in repr((str(error), error.details, error.internal))
