"""A service's two listeners from start to the last answered call."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse

from chassis.clock import SystemClock
from chassis.config import ConfigError, ListenerConfig
from chassis.errors import Code
from chassis.identity import PassportVerifier
from chassis.ids import SystemIds
from chassis.rpc.client import open_channel
from chassis.rpc.errors import error_from_rpc
from chassis.rpc.server import RpcServer
from chassis.testing.fakes import CountingIds, FakeClock
from sealgate.auth.v1.identity_pb2 import GetJsonWebKeySetResponse
from tests.certificates import NAME, Certificates
from tests.contract.rpc_harness import (
    AUDIENCE,
    OPEN,
    Harness,
    Issuer,
    Script,
    call,
    fixed_ring,
    raw_call,
    refusal,
    scripted_services,
    service_config,
    serving,
    stranger,
    wire_failure,
)

HEALTH = "/grpc.health.v1.Health/Check"
SESSION_SERVICE = "sealgate.auth.v1.SessionService"
OPERATOR_SERVICE = "sealgate.auth.v1.OperatorService"
# As long as a busy machine may take for what takes milliseconds.
DEADLINE_SECONDS = 30
# A busy machine may take longer to look at a listener that ends than calls in flight are given by it.
PATIENT_DRAIN_SECONDS = 60


@pytest.fixture
async def harness(clock: FakeClock, ids: CountingIds, short_directory: Path) -> AsyncIterator[Harness]:
    """A running server."""
    async with serving(clock, ids, short_directory) as running:
        yield running


def make_server(
    directory: Path,
    public_address: str = "127.0.0.1:0",
    internal: str | None = None,
    tls: dict[str, str] | None = None,
) -> RpcServer:
    """A server that is not started."""
    clock = SystemClock()
    issuer = Issuer(clock, fixed_ring())
    config = service_config(directory, public_address)
    if tls is not None:
        public = ListenerConfig.model_validate({"address": public_address, "tls": tls})
        config = config.model_copy(update={"public": public})
    if internal is not None:
        config = config.model_copy(update={"internal": internal})
    return RpcServer(
        config,
        scripted_services(Script()),
        clock=clock,
        ids=SystemIds(clock),
        verifier=PassportVerifier(AUDIENCE, clock, issuer.public_keys),
        exchanger=issuer,
        closers=(),
    )


async def health_of(
    channel: grpc.aio.Channel,
    service: str = "",
    *,
    wait: bool = False,
    at_most_seconds: float = DEADLINE_SECONDS,
) -> int:
    """The state that health says a service is in; `wait` for a connection as long as it takes."""
    check: Any = channel.unary_unary(HEALTH)
    question = HealthCheckRequest(service=service).SerializeToString()
    answer = HealthCheckResponse.FromString(
        await check(question, timeout=at_most_seconds, wait_for_ready=wait)
    )
    return int(answer.status)


@pytest.mark.parametrize("side", ["public", "internal"])
@pytest.mark.parametrize("service", ["", SESSION_SERVICE])
async def test_health_says_serving_for_the_process_and_each_service(
    harness: Harness, side: str, service: str
) -> None:
    """A probe may ask for the whole process or for one service, without a credential."""
    assert await health_of(getattr(harness, side), service) == HealthCheckResponse.SERVING


async def test_public_health_does_not_know_a_service_when_it_is_internal(harness: Harness) -> None:
    """What is not served on a listener is not healthy there either."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await health_of(harness.public, OPERATOR_SERVICE)
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND
    assert await health_of(harness.internal, OPERATOR_SERVICE) == HealthCheckResponse.SERVING


async def reflected(channel: grpc.aio.Channel, question: ServerReflectionRequest) -> ServerReflectionResponse:
    """What reflection answers."""
    ask = channel.stream_stream(
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        request_serializer=ServerReflectionRequest.SerializeToString,
        response_deserializer=ServerReflectionResponse.FromString,
    )
    [answer] = [message async for message in ask(iter([question]), timeout=DEADLINE_SECONDS)]
    assert isinstance(answer, ServerReflectionResponse)
    return answer


async def listed_services(channel: grpc.aio.Channel) -> set[str]:
    """What reflection says is served."""
    answer = await reflected(channel, ServerReflectionRequest(list_services=""))
    return {service.name for service in answer.list_services_response.service}


async def test_reflection_lists_what_each_listener_serves(harness: Harness) -> None:
    """Public reflection shows no internal and no operator service."""
    everywhere = {
        "sealgate.auth.v1.BrowserSessionService",
        "sealgate.auth.v1.TokenKeyService",
        SESSION_SERVICE,
        "sealgate.wallet.v1.WalletService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    inside = {"sealgate.auth.v1.IdentityService", OPERATOR_SERVICE}
    assert await listed_services(harness.public) == everywhere
    assert await listed_services(harness.internal) == everywhere | inside


async def test_reflection_describes_a_service_when_it_is_asked(harness: Harness) -> None:
    """A generic client such as grpcurl gets the file that defines a service."""
    answer = await reflected(harness.public, ServerReflectionRequest(file_containing_symbol=SESSION_SERVICE))
    files = [
        FileDescriptorProto.FromString(item) for item in answer.file_descriptor_response.file_descriptor_proto
    ]
    assert "sealgate/auth/v1/session.proto" in {file.name for file in files}


async def test_stop_answers_the_call_in_flight_and_refuses_a_new_one(
    short_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graceful stop loses no answer, takes nothing new, and closes last what calls used."""
    monkeypatch.setattr("chassis.rpc.listener.DRAIN_SECONDS", PATIENT_DRAIN_SECONDS)
    clock = SystemClock()
    issuer = Issuer(clock, fixed_ring())
    script = Script()
    entered, leave, events = asyncio.Event(), asyncio.Event(), list[str]()

    async def wait(request: Any, context: Any) -> GetJsonWebKeySetResponse:  # noqa: ANN401
        entered.set()
        await leave.wait()
        events.append("answered")
        return GetJsonWebKeySetResponse()

    async def close() -> None:
        events.append("closed")

    script.behaviours[OPEN] = wait
    config = service_config(short_directory)
    server = RpcServer(
        config,
        scripted_services(script),
        clock=clock,
        ids=SystemIds(clock),
        verifier=PassportVerifier(AUDIENCE, clock, issuer.public_keys),
        exchanger=issuer,
        closers=(close,),
    )
    await server.start()
    targets = (f"127.0.0.1:{server.public_port}", config.internal)
    channels = [open_channel(target) for target in targets]
    in_flight = []
    for channel in channels:
        entered.clear()
        in_flight.append(asyncio.create_task(raw_call(channel, OPEN)))
        await entered.wait()
    stopping = asyncio.create_task(server.stop())
    for target in targets:
        await until_refused(target)
    assert not stopping.done()
    assert events == []
    leave.set()
    assert await asyncio.gather(*in_flight) == [b"", b""]
    await stopping
    assert events == ["answered", "answered", "closed"]
    for channel in channels:
        await channel.close()


async def until_refused(target: str) -> None:
    """Returns when a new connection's call is refused by name."""
    code = None
    async with asyncio.timeout(DEADLINE_SECONDS):
        # A connection that comes while the listener closes may be left without a word: the next is not.
        while code in (None, Code.DEADLINE_EXCEEDED):
            channel = open_channel(target)
            try:
                await health_of(channel, at_most_seconds=1)
            except grpc.aio.AioRpcError as failure:
                code = error_from_rpc(failure, HEALTH).code
            finally:
                await channel.close()
    assert code is Code.UNAVAILABLE


async def test_start_says_which_address_when_the_port_is_taken(short_directory: Path) -> None:
    """A second server does not share the port silently."""
    first = make_server(short_directory)
    await first.start()
    address = f"127.0.0.1:{first.public_port}"
    with pytest.raises(ConfigError) as raised:
        await make_server(short_directory, address).start()
    assert raised.value.path == address
    await first.stop()


async def test_start_refuses_a_socket_when_somebody_serves_on_it(
    harness: Harness, short_directory: Path
) -> None:
    """A second process does not take over the socket of a live one, which goes on serving."""
    with pytest.raises(ConfigError) as raised:
        await make_server(short_directory, internal=harness.internal_address).start()
    assert raised.value.path == harness.internal_address
    assert await call(harness.internal, OPEN) == b""


async def test_start_takes_a_socket_over_when_its_owner_is_dead(short_directory: Path) -> None:
    """A socket file that a killed process left behind does not stand in the way."""
    path = short_directory / "stale.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert path.exists()
    server = make_server(short_directory, internal=f"unix:{path}")
    await server.start()
    channel = open_channel(f"unix:{path}")
    assert await call(channel, OPEN) == b""
    await channel.close()
    await server.stop()


@pytest.mark.parametrize(
    "path", ["{directory}/missing/x.sock", "{directory}/" + "x" * 120], ids=["no", "long"]
)
async def test_start_says_which_address_when_the_socket_cannot_be_made(
    short_directory: Path, path: str
) -> None:
    """A directory that is not there, or a path beyond 107 bytes, is a configuration error."""
    address = "unix:" + path.format(directory=short_directory)
    with pytest.raises(ConfigError) as raised:
        await make_server(short_directory, internal=address).start()
    assert raised.value.path == address


@pytest.mark.parametrize("spoilt", ["missing chain", "missing key", "no chain", "no key", "key of another"])
async def test_start_refuses_a_listener_whose_certificate_cannot_be_used(
    tmp_path: Path, short_directory: Path, spoilt: str
) -> None:
    """TLS that cannot be had is an error that names the files, never plain text instead."""
    certificates = Certificates(tmp_path)
    file = certificates.key if "key" in spoilt else certificates.chain
    if spoilt == "key of another":
        (tmp_path / "other").mkdir()
        file.write_bytes(Certificates(tmp_path / "other").key.read_bytes())
    elif spoilt.startswith("missing"):
        file.unlink()
    else:
        file.write_text("no PEM")
    with pytest.raises(ConfigError) as raised:
        await make_server(short_directory, tls=certificates.tls()).start()
    assert raised.value.path == str(certificates.chain)
    assert str(certificates.key) in raised.value.message


async def test_public_listener_with_a_certificate_speaks_tls_alone(
    tmp_path: Path, short_directory: Path
) -> None:
    """Who knows its root is answered; plain text is not, nor is it talked to by who knows another root."""
    certificates = Certificates(tmp_path)
    (tmp_path / "other").mkdir()
    stranger_root = Certificates(tmp_path / "other").root
    server = make_server(short_directory, tls=certificates.tls())
    await server.start()
    try:
        target = f"{NAME}:{server.public_port}"
        async with grpc.aio.secure_channel(target, trusting(certificates.root)) as channel:
            assert await health_of(channel, wait=True) == HealthCheckResponse.SERVING
        for wrong in (
            grpc.aio.secure_channel(target, trusting(stranger_root)),
            grpc.aio.insecure_channel(target),
        ):
            async with wrong as channel:
                with pytest.raises(grpc.aio.AioRpcError) as raised:
                    await health_of(channel)
                assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    finally:
        await server.stop()


def trusting(root: Path) -> grpc.ChannelCredentials:
    """Of a caller who knows this root alone."""
    return grpc.ssl_channel_credentials(root.read_bytes())


def test_core_of_grpc_is_silent_when_it_fails(short_directory: Path) -> None:
    """Nothing but our own lines is on stderr, however the process comes to load gRPC."""
    program = (
        "import asyncio, chassis.config, grpc\n"
        "async def main():\n"
        "    server = grpc.aio.server()\n"
        f"    server.add_insecure_port('unix:{short_directory}/missing/x.sock')\n"
        "try:\n"
        "    asyncio.run(main())\n"
        "except RuntimeError:\n"
        "    print('refused')\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GRPC_")}
    ended = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        env=environment,
    )
    assert (ended.stdout, ended.stderr) == ("refused\n", "")


def test_listener_goes_on_serving_when_a_stranger_sends_a_path_that_is_no_text() -> None:
    """In a process of its own: what grpc leaves of servers that broke can end one with many other tests."""
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n0", str(Path(__file__).with_name("broken_listeners.py"))],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert (ended.returncode, "3 passed" in ended.stdout) == (0, True), ended.stdout + ended.stderr


@pytest.mark.parametrize("path", [b"", b"/", b"//", b"*", b"/a", b"/%ff/%fe", b"/a/b/c", b"/\x00/\x01"])
async def test_listener_answers_the_next_call_when_a_path_is_odd(harness: Harness, path: bytes) -> None:
    """Text that is no method name is an unknown method and nothing worse."""
    async with stranger(harness.public_address, {b":path": path}):
        assert await call(harness.public, OPEN) == b""


async def test_unknown_method_is_unimplemented_on_both_listeners(harness: Harness) -> None:
    """What is not there is answered in gRPC's own way."""
    for channel in (harness.public, harness.internal):
        failure = await wire_failure(channel, "/sealgate.auth.v1.SessionService/Nothing")
        assert failure.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_peer_that_is_down_is_unavailable(short_directory: Path) -> None:
    """A call to nobody is UNAVAILABLE by name, with a pause, and at once."""
    channel = open_channel(f"unix:{short_directory}/nobody.sock")
    error = await refusal(channel, OPEN)
    assert (error.code, error.retry_after_seconds) == (Code.UNAVAILABLE, 1)
    await channel.close()
