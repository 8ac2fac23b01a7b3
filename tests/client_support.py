"""What tests of the client share: a machine under control, and a bad line to the platform."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import itertools
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from chassis.testing.fakes import START_NS
from sealgate.client import AsyncSealgate, Sealgate, Signer
from sealgate.client.core import Conversation, Pause, Send, Told
from sealgate.client.machine import uuid_v7

_T = TypeVar("_T")
BUSY: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 7\r\ncontent-type: application/json\r\n"
    b"content-length: 78\r\nconnection: close\r\n\r\n"
    b'{"success":false,"error":{"code":"OVERLOADED","message":"Busy.","details":[]}}'
)
PASS: Final = "pass"
"""The request reaches the platform, and its answer the client."""
CUT: Final = "cut"
"""The line breaks before the platform sees the request."""
SWALLOW: Final = "swallow"
"""The platform answers, and the line breaks before the client hears it."""
SEND_AWAY: Final = "send away"
"""Something before the platform answers 503."""


SIGNING_CALLS: Final = frozenset(
    {
        "register_master_key",
        "list_session_keys",
        "list_master_keys",
        "get_key_request",
        "get_request",
        "get_time",
        "list_subaccounts",
        "create_withdrawal",
        "list_withdrawals",
        "get_deposit_address",
        "list_withdrawal_addresses",
        "add_account_withdrawal_address",
    }
)
"""The calls without a signature that belong to signing, or to money that leaves."""


class StillMachine:
    """A `Machine` whose time moves by its pauses alone and whose chance is in the middle."""

    def __init__(self, started_ns: int = START_NS) -> None:
        self.started_ms = started_ns // 1_000_000
        self.pauses: list[float] = []
        self.now = 0.0
        self._count = itertools.count(1)
        # No two machines name the same thing: tests share a platform.
        self._space = uuid.uuid4()

    def seconds(self) -> float:
        return self.now

    def fraction(self) -> float:
        return 0.5

    def name(self) -> str:
        return str(uuid.uuid5(self._space, str(next(self._count))))

    def request_id(self) -> uuid.UUID:
        chance = hashlib.sha256(self.name().encode()).digest()[:10]
        return uuid_v7(self.started_ms + round(self.now * 1000), chance)

    def wait(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    async def sleep(self, seconds: float) -> None:
        self.wait(seconds)


def hold(
    steps: Conversation[_T], machine: StillMachine, answers: Sequence[Told]
) -> tuple[list[Send], Callable[[], _T]]:
    """Holds a conversation to its end with these answers: what was sent, and what gives the result."""
    sent: list[Send] = []
    told: Told = None
    coming = iter(answers)
    try:
        while True:
            step = steps.send(told)
            told = None
            if isinstance(step, Pause):
                machine.wait(step.seconds)
            else:
                sent.append(step)
                told = next(coming)
    except StopIteration as end:
        result: _T = end.value[0]
        return sent, lambda: result
    except Exception as error:  # noqa: BLE001 - given to whoever asks for the result
        failure = error

    def fail() -> _T:
        raise failure

    return sent, fail


class Caller:
    """Calls a client of either kind from asyncio, and remembers what it called."""

    opened: Final[list[Caller]] = []
    """All that were made, for `close_clients`."""

    def __init__(self, client: AsyncSealgate | Sealgate, called: set[str] | None = None) -> None:
        self.client = client
        self.called: set[str] = set() if called is None else called
        self.opened.append(self)

    async def close(self) -> None:
        """Ends the client's connections, also those that are ended already."""
        if isinstance(self.client, AsyncSealgate):
            await self.client.aclose()
        else:
            self.client.close()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - as many types as there are methods
        method = getattr(self.client, name)
        self.called.add(name)

        async def call(**arguments: object) -> Any:  # noqa: ANN401 - the same
            if isinstance(self.client, Sealgate):
                # The platform runs in this event loop: a call that stands still must not stop it.
                return await asyncio.to_thread(_complete, method, arguments)
            result = method(**arguments)
            if inspect.isasyncgen(result):
                return [item async for item in result]
            return await result

        return call

    def with_session(self, token: str) -> Caller:
        return Caller(self.client.with_session(token), self.called)

    def with_api_key(self, secret: str) -> Caller:
        return Caller(self.client.with_api_key(secret), self.called)

    def with_signer(self, signer: Signer) -> Caller:
        return Caller(self.client.with_signer(signer), self.called)


async def close_clients() -> None:
    """Closes what a test opened: a socket that it left would fail whichever test runs when it is found."""
    while Caller.opened:
        await Caller.opened.pop().close()


def _complete(method: Callable[..., Any], arguments: dict[str, object]) -> Any:  # noqa: ANN401 - the same
    result = method(**arguments)
    return list(result) if inspect.isgenerator(result) else result


@asynccontextmanager
async def bad_line(upstream_port: int, *fates: str) -> AsyncIterator[str]:
    """A line to the platform whose requests meet these fates, later ones the last; gives its address."""
    coming = itertools.chain(fates, itertools.repeat(fates[-1]))

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.lower().split(b"\r\n")
            length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
            request = head[:-2] + b"Connection: close\r\n\r\n" + await reader.readexactly(length)
            fate = next(coming)
            if fate == SEND_AWAY:
                writer.write(BUSY)
            elif fate in (PASS, SWALLOW):
                answer = await _exchange(upstream_port, request)
                if fate == PASS:
                    writer.write(answer)
        finally:
            writer.close()

    server = await asyncio.start_server(carry, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def _exchange(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        request.replace(b"\r\nConnection: keep-alive", b"").replace(b"\r\nconnection: keep-alive", b"")
    )
    answer = await reader.read()
    writer.close()
    return answer
