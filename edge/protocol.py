"""The HTTP/1.1 side of a connection: uvicorn's protocol on httptools, within bounds.

uvicorn bounds neither the head of a request nor the time it takes, and answers what it cannot parse
as bare text. Here a head has a size and a time, every refusal is our error object under a request
id, and a connection that is given up is closed so that its last answer arrives.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Final
from urllib.parse import unquote

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from chassis.errors import Code, SealgateError, invalid
from chassis.limits import LINGER_MAX_BYTES, LINGER_SECONDS
from edge.errors import Answer

# A chunk of one byte is sent as six, so an honest body has at most so many times its size on the wire.
_CHUNK_OVERHEAD: Final = 8

Headers = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What one connection may cost, and how many there may be."""

    head_max_bytes: int
    head_seconds: float
    body_max_bytes: int
    connections_count: int


class EdgeServerConfig(uvicorn.Config):
    """uvicorn's settings and what else the protocol below needs to know."""

    def __init__(
        self,
        app: Any,  # noqa: ANN401  (uvicorn's own type for an ASGI application is private)
        *,
        limits: ConnectionLimits,
        refuse: Callable[[SealgateError, Headers], Answer],
        backlog_count: int,
        idle_seconds: float,
        drain_seconds: float,
    ) -> None:
        super().__init__(
            app,
            http=EdgeProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            # uvicorn's own lines about starting and stopping say nothing that ours do not.
            log_level="warning",
            # The peer's address is the edge's to judge, not uvicorn's.
            proxy_headers=False,
            server_header=False,
            backlog=backlog_count,
            timeout_keep_alive=ceil(idle_seconds),
            timeout_graceful_shutdown=ceil(drain_seconds),
        )
        self.limits = limits
        self.refuse = refuse


class EdgeCycle(RequestResponseCycle):
    """uvicorn's one request, with an answer of our own: in one write, and aware of an unread body."""

    body_unread = False
    _head = b""

    async def send(self, message: Any) -> None:  # noqa: ANN401  (uvicorn's event types are private)
        """See ASGI's `send`; an answer has its Content-Length among its headers."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if not self.response_started:
            self.response_started = True
            self.waiting_for_100_continue = False
            # What is left of the body would have to be read before the next request.
            self.body_unread = self.more_body
            self._head = self._render_head(message["status"], message["headers"])
            return
        self.transport.writelines((self._head, b"" if self.scope["method"] == "HEAD" else message["body"]))
        self._head = b""
        if not message.get("more_body", False):
            self._complete()

    def _render_head(self, status: int, headers: Headers) -> bytes:
        lines = [STATUS_LINE[status]]
        for name, value in (*self.default_headers, *headers):
            lines += (name, b": ", value, b"\r\n")
        lines.append(b"\r\n" if self.keep_alive and not self.body_unread else b"connection: close\r\n\r\n")
        return b"".join(lines)

    def _complete(self) -> None:
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive and not self.body_unread:
            self.transport.close()
        self.on_response()


class EdgeProtocol(HttpToolsProtocol):
    """One connection.

    What comes in belongs to a part, the head or the body of a request, and each part is bounded. A
    connection is `_ending` once nothing more of it will be understood.
    """

    config: EdgeServerConfig
    cycle: Any  # an EdgeCycle once there is one

    def __init__(
        self,
        config: EdgeServerConfig,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._limits = config.limits
        self._refusal: SealgateError | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None
        self._ending = False
        self._in_head = False
        self._in_body = False
        self._parts_count = 0
        self._part_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See `asyncio.BaseProtocol`."""
        super().connection_made(transport)
        self._start_timer(self._limits.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.BaseProtocol`."""
        self._stop_timer()
        self._stop_stall_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self._ending:
            self._discard(len(data))
            return
        parts_count, between_requests = self._parts_count, not (self._in_head or self._in_body)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # It was answered as the HTTP/1.1 request that it also is, and on_headers_complete made it
            # the connection's last.
            self._ending = True
        except httptools.HttpParserError:
            self._refuse(self._refusal or invalid("request", "must be HTTP/1.1"))
        else:
            if self._in_head or self._in_body:
                begun_count = self._parts_count - parts_count
                whole_chunk = begun_count == 0 or (begun_count == 1 and between_requests)
                self._bound_part(len(data) if whole_chunk else 0, is_new=begun_count > 0)

    def eof_received(self) -> bool:  # type: ignore[override]
        """The client will send no more: what it has asked for whole is still answered, then it ends."""
        waits = self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body
        if waits:
            self.cycle.keep_alive = False
        return waits

    def on_message_begin(self) -> None:
        """A request begins."""
        self._in_head = True
        self._parts_count += 1
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or behind a chunked body a trailer: that is nobody's header, and is dropped."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is whole: it is served, or refused by raising, which httptools hands to our caller."""
        self._in_head, self._in_body = False, True
        self._parts_count += 1
        self._stop_timer()
        self._unset_keepalive_if_required()
        self._refusal = self._head_refusal()
        if self._refusal is not None:
            raise self._refusal
        url = httptools.parse_url(self.url)
        path = url.path or b"/"
        self.scope["method"] = self.parser.get_method().decode("ascii")
        self.scope["http_version"] = self.parser.get_http_version()
        # What was sent, to the byte: signatures are over it.
        self.scope["state"]["target"] = self.url
        self.scope["raw_path"] = path
        self.scope["path"] = unquote(path.decode("ascii"))
        self.scope["query_string"] = url.query or b""
        self._serve()

    def on_message_complete(self) -> None:
        """The body is whole."""
        self._in_body = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """An answer is written: on to the next request, or to the end of the connection."""
        if self._ending or self.cycle.body_unread:
            self._linger()
        else:
            super().on_response_complete()

    def pause_writing(self) -> None:
        """The client reads more slowly than it is answered: it has the idle time to catch up."""
        super().pause_writing()
        self._stall_timer = self.loop.call_later(self.timeout_keep_alive, self.transport.abort)

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._stop_stall_timer()
        super().resume_writing()

    def _serve(self) -> None:
        earlier = self.cycle
        self.cycle = EdgeCycle(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=self.scope["http_version"] == "1.1"
            and self.parser.should_keep_alive()
            and not self.parser.should_upgrade(),
            on_response=self.on_response_complete,
        )
        if earlier is None or earlier.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def _head_refusal(self) -> SealgateError | None:
        size, hosts_count, coded = len(self.url), 0, False
        for name, value in self.headers:
            size += len(name) + len(value) + len(b": \r\n")
            hosts_count += name == b"host"
            coded = coded or (name == b"transfer-encoding" and value.strip().lower() != b"chunked")
        if size > self._limits.head_max_bytes:
            return SealgateError(Code.HEADERS_TOO_LARGE)
        version = self.parser.get_http_version()
        if version not in ("1.0", "1.1") or hosts_count > 1 or (version == "1.1" and hosts_count == 0):
            return invalid("request", "must be HTTP/1.1 with one Host header")
        if coded:
            return invalid("request", "must have no transfer coding but chunked")
        if len(self.connections) > self._limits.connections_count:
            return SealgateError(Code.OVERLOADED)
        return None

    def _bound_part(self, more_bytes: int, *, is_new: bool) -> None:
        self._part_bytes = more_bytes if is_new else self._part_bytes + more_bytes
        if self._in_body:
            # The application counts the body itself; this is for what is wrapped around it.
            if self._part_bytes > _CHUNK_OVERHEAD * self._limits.body_max_bytes:
                self._refuse(SealgateError(Code.PAYLOAD_TOO_LARGE))
        elif self._part_bytes > self._limits.head_max_bytes:
            self._refuse(SealgateError(Code.HEADERS_TOO_LARGE))
        elif self._timer is None:
            self._start_timer(self._limits.head_seconds)

    def _refuse(self, error: SealgateError) -> None:
        """Answers what cannot be served, if it is its turn, and ends the connection."""
        self._ending = True
        if self.cycle is not None and not self.cycle.response_complete:
            if self.pipeline or not self.cycle.more_body:
                # An earlier request still waits for its answer, and after it the connection ends.
                self.pipeline.clear()
                return
            # It is the body of the request that is being served; nobody waits for the rest of it.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if self.cycle.response_started:
                self._linger()
                return
        answer = self.config.refuse(error, self.headers or ())
        lines = [b"%s: %s\r\n" % header for header in answer.headers]
        head = b"".join([STATUS_LINE[answer.status], *lines, b"connection: close\r\n\r\n"])
        self.transport.write(head + answer.body)
        self._linger()

    def _linger(self) -> None:
        """Says that no more comes, and reads what the client still sends, for a while.

        Closing at once would reset the connection, and the reset can overtake the answer.
        """
        self._ending = True
        self._part_bytes = 0
        self._stop_timer()
        self._unset_keepalive_if_required()
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        self.transport.write_eof()
        self._start_timer(LINGER_SECONDS)

    def _discard(self, bytes_count: int) -> None:
        self._part_bytes += bytes_count
        if self._part_bytes > LINGER_MAX_BYTES:
            self.transport.abort()

    def _start_timer(self, seconds: float) -> None:
        self._timer = self.loop.call_later(seconds, self.transport.abort)

    def _stop_stall_timer(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
