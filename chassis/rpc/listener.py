"""One address that gRPC is served on, kept open whatever strangers send to it."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import grpc
from grpc_health.v1._async import HealthServicer

from chassis.clock import SystemClock
from chassis.config import ConfigError, TlsConfig
from chassis.limits import DRAIN_SECONDS

Assemble = Callable[[], Awaitable[tuple[grpc.aio.Server, HealthServicer]]]

_logger = logging.getLogger(__name__)

# As long as new calls wait when a server breaks. A look costs some 50 µs, and every listener looks.
_WATCH_SECONDS: Final = 0.05
# The kernel's time and nobody else's: a broken server lets its address go when it does.
_MACHINE: Final = SystemClock()
_UNIX: Final = "unix:"


class HandlersByName:
    """A server as generated code and health see it, which finds every handler by its name.

    For each method that is registered besides, grpc.aio keeps a request open, and frees it while the
    core still writes to it when the server's loop ends by itself; then the process dies.
    """

    def __init__(self, server: grpc.aio.Server) -> None:
        self._server = server

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """See `grpc.aio.Server`."""
        self._server.add_generic_rpc_handlers(tuple(handlers))

    def add_registered_method_handlers(self, service_name: str, handlers: Mapping[str, object]) -> None:
        """Does nothing: the same handlers come as generic ones too."""


class Listener:
    """A gRPC server on one address, and its successor when it breaks.

    grpc.aio ends a server's loop for good at the first request whose path is not UTF-8: running calls
    are still answered, new ones never, in a process that looks well. So each server is watched, and
    replaced on its own address when its loop has ended.
    """

    def __init__(self, address: str, tls: TlsConfig | None, assemble: Assemble) -> None:
        self._address = address
        self._tls = tls
        self._assemble = assemble
        self._server: grpc.aio.Server | None = None
        self._health: HealthServicer | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._retiring: set[asyncio.Task[None]] = set()

    async def bind(self) -> int:
        """Takes the address, without serving yet, and returns the port (Unix sockets: 1).

        Raises ConfigError when the address cannot be had.
        """
        _refuse_live_socket(self._address)
        server, health = await self._assemble()
        port = _bind(server, self._address, self._tls)
        if not self._address.startswith(_UNIX):
            self._address = f"{self._address.rpartition(':')[0]}:{port}"
        self._server, self._health = server, health
        return port

    async def serve(self) -> None:
        """Serves on the bound address until `stop`."""
        if self._server is not None:
            await self._server.start()
            self._keeper = asyncio.create_task(self._keep_serving())
            self._keeper.add_done_callback(_tell_of_failure)

    async def stop(self) -> None:
        """Takes no new calls and lets running ones end within the drain time."""
        if self._keeper is not None:
            # Again and again, because a cancellation may be lost where the keeper waits inside grpc.aio.
            while not self._keeper.done():
                self._keeper.cancel()
                await asyncio.wait({self._keeper}, timeout=_WATCH_SECONDS)
        if self._health is not None:
            await self._health.enter_graceful_shutdown()
        if self._server is not None:
            await self._server.stop(DRAIN_SECONDS)
        await asyncio.gather(*self._retiring)

    async def _keep_serving(self) -> None:
        while self._server is not None:
            server = self._server
            try:
                while await server.wait_for_termination(_WATCH_SECONDS):
                    pass
            except Exception as error:
                _logger.exception("a listener broke and is replaced", exc_info=error)
                await self._replace(server)
            else:
                return

    async def _replace(self, broken: grpc.aio.Server) -> None:
        while self._server is broken:
            try:
                await self.bind()
                await self._server.start()
            except ConfigError as error:
                _logger.exception("a listener cannot be replaced yet", exc_info=error)
                await _MACHINE.sleep(_WATCH_SECONDS)
        retiring = asyncio.create_task(broken.stop(DRAIN_SECONDS))
        self._retiring.add(retiring)
        retiring.add_done_callback(self._retiring.discard)


def _tell_of_failure(keeper: asyncio.Task[None]) -> None:
    """Whenever it is that a keeper fails: nobody waits for what it ends with."""
    error = None if keeper.cancelled() else keeper.exception()
    if error is not None:
        _logger.error("a listener is kept no more", exc_info=error)


def _refuse_live_socket(address: str) -> None:
    """Raises ConfigError when somebody serves on a Unix socket: gRPC would silently take it over."""
    if not address.startswith(_UNIX):
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(address.removeprefix(_UNIX))
        except OSError:
            return
    raise ConfigError(address, "another process serves here")


def _bind(server: grpc.aio.Server, address: str, tls: TlsConfig | None) -> int:
    credentials = None if tls is None else _credentials(tls)
    try:
        if credentials is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, credentials)
    except (RuntimeError, OSError):
        raise ConfigError(address, "cannot listen here; is the address taken?") from None


def _credentials(tls: TlsConfig) -> grpc.ServerCredentials:
    # The core of gRPC says of a bad certificate only that it could not listen.
    tls.check()
    return grpc.ssl_server_credentials([(tls.key_file.read_bytes(), tls.certificate_file.read_bytes())])
