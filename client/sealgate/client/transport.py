"""The two clients' common ground, and how each of them sends, waits and closes."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import re
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator, Mapping
from types import TracebackType
from typing import Final, Generic, Self, TypeVar

import httpx

from sealgate.client.core import (
    AnswerFacts,
    Arguments,
    Conversation,
    Operation,
    Reply,
    Request,
    Send,
    Silence,
    Told,
    converse,
)
from sealgate.client.machine import Machine, SystemMachine
from sealgate.client.retry import RetryPolicy
from sealgate.client.signed_call import SignedOperation, await_outcome, converse_signed
from sealgate.client.signing import Signer, checked_audience

_T = TypeVar("_T")
_Http = TypeVar("_Http", httpx.AsyncClient, httpx.Client)
_KEY_HEADERS: Final = {
    "project_key": "x-project-api-key",
    "api_key": "x-api-key",
    "device_key": "x-device-key",
}
_SECRET: Final = re.compile(r"[!-~]+")
# More than the platform's longest answer, which is a full list of accounts with all their metadata.
_ANSWER_MAX_BYTES: Final = 64 * 1024 * 1024
# An answer that unpacks itself could be of any size.
_NOT_PACKED: Final = {"accept-encoding": "identity"}
# Raised before the request left; any other failure leaves open whether the server read it.
_NOT_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)


def _reply(answer: httpx.Response, body: bytes | bytearray) -> Reply:
    """The answer with as much of its body as was read; none of one that is too long to be the platform's."""
    whole = bytes(body) if len(body) <= _ANSWER_MAX_BYTES else b""
    return Reply(answer.status_code, dict(answer.headers.items()), whole)


class BaseClient(ABC, Generic[_Http]):
    """Where a client's calls go, with which credential, and how hard they are tried."""

    def __init__(
        self,
        base_url: str,
        *,
        project_key: str | None = None,
        session_token: str | None = None,
        api_key: str | None = None,
        device_key: str | None = None,
        timeout_seconds: float = 30.0,
        retry: RetryPolicy | None = None,
        signer: Signer | None = None,
        http: _Http | None = None,
        machine: Machine | None = None,
    ) -> None:
        """`base_url` is where the edge is, such as `https://api.example.com`.

        At most one credential: more than one, and one that no header can carry, raise ValueError. `signer`
        signs what is signed, the `submit_…` methods and those of sessions' own keys; all others go with the
        credential.
        `timeout_seconds` is for a call with all its attempts; `retry` says how hard it tries. `http` is
        a client of httpx of your own, for proxies and certificates, which stays yours to close.
        """
        self._base_url = _address(base_url)
        self._policy = retry or RetryPolicy()
        self._timeout_seconds = timeout_seconds
        self._machine = machine or SystemMachine()
        self._credential_kind, self._credential = _credential(
            {
                "project_key": project_key,
                "session_token": session_token,
                "api_key": api_key,
                "device_key": device_key,
            }
        )
        self._signer = signer
        self._owns_http = http is None
        self._http: _Http = self._open_http() if http is None else http
        self._last_answer: AnswerFacts | None = None

    @staticmethod
    @abstractmethod
    def _open_http() -> _Http:
        """Connections of the client's own."""

    def __repr__(self) -> str:
        shown = f", {self._credential_kind}=…" if self._credential_kind else ""
        shown += f", signer={self._signer!r}" if self._signer else ""
        return f"{type(self).__name__}({self._base_url!r}{shown})"

    @property
    def last_answer(self) -> AnswerFacts:
        """What the answer to this client's last successful call said beside its result.

        An error carries the same of its own. With several calls at once it is that of the one which ended
        last: give each a client of its own by `with_…`, which shares the connections. Raises LookupError
        before the first.
        """
        if self._last_answer is None:
            raise LookupError("this client has no answer yet")
        return self._last_answer

    def with_project_key(self, project_key: str) -> Self:
        """A client with this credential in place of the old one, on the same connections."""
        return self._derived({"project_key": project_key})

    def with_session(self, session_token: str) -> Self:
        """As `with_project_key`, with the token of an account session."""
        return self._derived({"session_token": session_token})

    def with_api_key(self, api_key: str) -> Self:
        """As `with_project_key`, with the secret of an account's API key."""
        return self._derived({"api_key": api_key})

    def with_device_key(self, device_key: str) -> Self:
        """As `with_project_key`, with a device key."""
        return self._derived({"device_key": device_key})

    def with_signer(self, signer: Signer) -> Self:
        """A client that signs with this, with the same credential and on the same connections."""
        derived = self._copy()
        derived._signer = signer  # noqa: SLF001 - another of this class
        return derived

    @property
    def audience(self) -> str:
        """The deployment's name unless a signer has another: the host, and port, that this client dials."""
        return checked_audience(httpx.URL(self._base_url).netloc.decode("ascii"))

    def new_request_id(self) -> str:
        """An id for a signed request of the next seconds, for who wants to know it before it is sent."""
        return str(self._machine.request_id())

    def _derived(self, given: Mapping[str, str]) -> Self:
        derived = self._copy()
        derived._credential_kind, derived._credential = _credential(given)  # noqa: SLF001 - the same
        return derived

    def _copy(self) -> Self:
        copied = copy.copy(self)
        copied._become_copy()  # noqa: SLF001 - another of this class
        return copied

    def _become_copy(self) -> None:
        self._owns_http = False
        self._last_answer = None

    def _converse(
        self,
        operation: Operation[_T],
        arguments: Arguments,
        timeout_seconds: float | None,
        idempotency_key: str | None,
        policy: RetryPolicy | None = None,
    ) -> Conversation[_T]:
        return converse(
            operation,
            arguments,
            credential=self._credential,
            policy=policy or self._policy,
            timeout_seconds=self._timeout_seconds if timeout_seconds is None else timeout_seconds,
            machine=self._machine,
            idempotency_key=idempotency_key,
        )

    def _converse_signed(
        self,
        operation: SignedOperation[_T],
        arguments: Arguments,
        timeout_seconds: float | None,
        request_id: str | None,
    ) -> Conversation[_T]:
        if self._signer is None:
            raise ValueError(f"{operation.name} is signed, and this client has no signer: see with_signer")
        return converse_signed(
            operation,
            arguments,
            signer=self._signer if self._signer.audience else self._signer.for_audience(self.audience),
            policy=self._policy,
            timeout_seconds=self._timeout_seconds if timeout_seconds is None else timeout_seconds,
            machine=self._machine,
            request_id=request_id,
        )

    def _await_outcome(
        self, operation: Operation[_T], request_id: str, timeout_seconds: float | None
    ) -> Conversation[_T]:
        # The wait repeats by itself.
        once = dataclasses.replace(self._policy, attempts_count=1)
        return await_outcome(
            lambda seconds: self._converse(operation, {"request_id": request_id}, seconds, None, once),
            timeout_seconds=self._timeout_seconds if timeout_seconds is None else timeout_seconds,
            machine=self._machine,
        )

    def _take(self, outcome: tuple[_T, AnswerFacts]) -> _T:
        result, self._last_answer = outcome
        return result

    def _url(self, request: Request) -> str:
        return self._base_url + request.target

    def _silence(self, error: Exception) -> Silence:
        why = f"{type(error).__name__} at {self._base_url}"
        return Silence(why, sent=not isinstance(error, _NOT_SENT))


def _address(base_url: str) -> str:
    """Where paths are put behind; ValueError, which repeats nothing of it, for what is no such address."""
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL:
        url = httpx.URL()
    # A password in it would be in every `repr`, and stand in the place of a token.
    if url.scheme not in ("http", "https") or not url.host or url.userinfo or url.query or url.fragment:
        raise ValueError("base_url is an address such as https://api.example.com")
    return str(url).rstrip("/")


def _credential(given: Mapping[str, str | None]) -> tuple[str | None, Mapping[str, str]]:
    """The kind of the one that is given, and its header."""
    chosen = [(kind, secret) for kind, secret in given.items() if secret is not None]
    if not chosen:
        return None, {}
    if len(chosen) > 1:
        raise ValueError("a client has one credential: " + " or ".join(kind for kind, _ in chosen))
    [(kind, secret)] = chosen
    # Looked at here, because what HTTP libraries say of a bad header repeats its value.
    if not _SECRET.fullmatch(secret):
        raise ValueError(f"{kind} is no secret of Sealgate's")
    if kind == "session_token":
        return kind, {"authorization": f"Bearer {secret}"}
    return kind, {_KEY_HEADERS[kind]: secret}


def _page(arguments: Arguments, page_size: int, offset: int) -> Arguments:
    if page_size < 1:
        raise ValueError("a page has at least one item")
    # The end is an empty page and not a short one, because the server may give less than was asked for.
    return {**arguments, "limit": page_size, "offset": offset}


class AsyncTransport(BaseClient[httpx.AsyncClient]):
    """Drives calls in asyncio."""

    @staticmethod
    def _open_http() -> httpx.AsyncClient:
        return httpx.AsyncClient()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes the connections; those of a derived client are its origin's to close."""
        if self._owns_http:
            await self._http.aclose()

    async def _call(
        self,
        operation: Operation[_T],
        arguments: Arguments,
        *,
        timeout_seconds: float | None = None,
        idempotency_key: str | None = None,
    ) -> _T:
        return await self._drive(self._converse(operation, arguments, timeout_seconds, idempotency_key))

    async def _submit(
        self,
        operation: SignedOperation[_T],
        arguments: Arguments,
        *,
        timeout_seconds: float | None = None,
        request_id: str | None = None,
    ) -> _T:
        return await self._drive(self._converse_signed(operation, arguments, timeout_seconds, request_id))

    async def _wait(
        self, operation: Operation[_T], request_id: str, *, timeout_seconds: float | None = None
    ) -> _T:
        return await self._drive(self._await_outcome(operation, request_id, timeout_seconds))

    async def _drive(self, steps: Conversation[_T]) -> _T:
        told: Told = None
        while True:
            try:
                step = steps.send(told)
            except StopIteration as end:
                outcome: tuple[_T, AnswerFacts] = end.value
                return self._take(outcome)
            told = None
            if isinstance(step, Send):
                told = await self._send(step)
            else:
                await self._machine.sleep(step.seconds)

    async def _send(self, step: Send) -> Reply | Silence:
        request = step.request
        body = bytearray()
        try:
            async with (
                asyncio.timeout(step.timeout_seconds),
                self._http.stream(
                    request.verb,
                    self._url(request),
                    headers={**request.headers, **_NOT_PACKED},
                    content=request.body,
                    timeout=step.timeout_seconds,
                    follow_redirects=False,
                ) as answer,
            ):
                if answer.is_stream_consumed:  # by an event hook of the caller's
                    return _reply(answer, answer.content)
                async for part in answer.aiter_raw():
                    body += part
                    if len(body) > _ANSWER_MAX_BYTES:
                        break
            return _reply(answer, body)
        except (httpx.RequestError, TimeoutError) as error:
            return self._silence(error)

    async def _pages(
        self, operation: Operation[list[_T]], arguments: Arguments, page_size: int
    ) -> AsyncIterator[_T]:
        offset = 0
        while page := await self._call(operation, _page(arguments, page_size, offset)):
            for item in page:
                yield item
            offset += len(page)


class SyncTransport(BaseClient[httpx.Client]):
    """Drives calls in the thread that makes them."""

    @staticmethod
    def _open_http() -> httpx.Client:
        return httpx.Client()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections; those of a derived client are its origin's to close."""
        if self._owns_http:
            self._http.close()

    def _call(
        self,
        operation: Operation[_T],
        arguments: Arguments,
        *,
        timeout_seconds: float | None = None,
        idempotency_key: str | None = None,
    ) -> _T:
        return self._drive(self._converse(operation, arguments, timeout_seconds, idempotency_key))

    def _submit(
        self,
        operation: SignedOperation[_T],
        arguments: Arguments,
        *,
        timeout_seconds: float | None = None,
        request_id: str | None = None,
    ) -> _T:
        return self._drive(self._converse_signed(operation, arguments, timeout_seconds, request_id))

    def _wait(self, operation: Operation[_T], request_id: str, *, timeout_seconds: float | None = None) -> _T:
        return self._drive(self._await_outcome(operation, request_id, timeout_seconds))

    def _drive(self, steps: Conversation[_T]) -> _T:
        told: Told = None
        while True:
            try:
                step = steps.send(told)
            except StopIteration as end:
                outcome: tuple[_T, AnswerFacts] = end.value
                return self._take(outcome)
            told = None
            if isinstance(step, Send):
                told = self._send(step)
            else:
                self._machine.wait(step.seconds)

    def _send(self, step: Send) -> Reply | Silence:
        request = step.request
        ends_at = self._machine.seconds() + step.timeout_seconds
        body = bytearray()
        try:
            with self._http.stream(
                request.verb,
                self._url(request),
                headers={**request.headers, **_NOT_PACKED},
                content=request.body,
                timeout=step.timeout_seconds,
                follow_redirects=False,
            ) as answer:
                if answer.is_stream_consumed:  # by an event hook of the caller's
                    return _reply(answer, answer.content)
                for part in answer.iter_raw():
                    body += part
                    if len(body) > _ANSWER_MAX_BYTES:
                        break
                    # The timeout above is for each wait, and an answer that drips has many.
                    if self._machine.seconds() > ends_at:
                        return self._silence(TimeoutError())
            return _reply(answer, body)
        except httpx.RequestError as error:
            return self._silence(error)

    def _pages(self, operation: Operation[list[_T]], arguments: Arguments, page_size: int) -> Iterator[_T]:
        offset = 0
        while page := self._call(operation, _page(arguments, page_size, offset)):
            yield from page
            offset += len(page)
