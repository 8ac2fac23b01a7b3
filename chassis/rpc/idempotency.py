"""Requests with an `idempotency-key`: run once, answered again as often as they are repeated.

The handler runs inside of the transaction that keeps its answer, so the answer is on record exactly
when the effect is. The handler does not know: what it does with the service's database joins that
transaction (see `chassis.db.tx.Database.shared_transaction`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from typing import Any, Final

import grpc
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from chassis.clock import Clock
from chassis.db.idempotency import Record, Scope, digest_of, find_record, replace_record, try_lock
from chassis.db.tx import Database, Transaction
from chassis.errors import Code, SealgateError
from chassis.identity import Identity
from chassis.methods import Method
from chassis.rpc import context as request_context
from chassis.rpc import metadata
from chassis.rpc.errors import Handler, error_from_status, status_from_error
from chassis.rpc.idempotency_key import checked_key, takes_key

_OK: Final = "OK"
_RECORDED_HTTP_STATUS: Final = 409

Context = grpc.aio.ServicerContext[Any, Any]

Complete = Callable[[Any], Awaitable[None]]
"""Makes the recorded response of a method whole before it is given again; may refuse."""


class IdempotencyStage:
    """Innermost: looks the key up, runs the handler if it is new, keeps the answer with the effect.

    Successes and refusals with status 409 are kept for a day; any other refusal leaves no trace, and
    the next request with the key runs. Fields marked `debug_redact` are never kept: `completions`
    has, by method, what puts them back where that can be done. `by_credential` names the methods
    that act on the very credential they are called with, where another credential, or the same one on
    another page, asks for something else.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        completions: Mapping[str, Complete] | None = None,
        by_credential: Collection[str] = (),
    ) -> None:
        self._database = database
        self._clock = clock
        self._completions = dict(completions or {})
        self._by_credential = frozenset(by_credential)

    def wrap(self, method: Method, handler: Handler) -> Handler:
        """See `chassis.rpc.pipeline.Stage.wrap`."""
        if not takes_key(method):
            return handler

        async def answer(request: Any, context: Context) -> Any:  # noqa: ANN401
            key = checked_key(_sent_keys(context))
            if key is None:
                return await handler(request, context)
            identity = request_context.identity()
            scope = Scope(key, method.full_name, identity.project_id, identity.account_id)
            digest = self._digest(method, identity, request)
            outcome = await self._once(method, scope, digest, lambda: handler(request, context))
            if isinstance(outcome, SealgateError):
                raise outcome
            return outcome

        return answer

    async def _once(
        self, method: Method, scope: Scope, digest: bytes, run: Callable[[], Awaitable[Message]]
    ) -> Message | SealgateError:
        """The response, or the refusal that is on record as the answer."""
        async with self._database.shared_transaction() as tx:
            if not await try_lock(tx, scope):
                raise SealgateError(Code.REQUEST_IN_PROGRESS)
            earlier = await find_record(tx, scope)
            if earlier is None or not earlier.is_kept(self._clock.now_ns()):
                return await self._first(tx, scope, digest, earlier, run)
            if earlier.digest != digest:
                raise SealgateError(Code.IDEMPOTENCY_CONFLICT)
        # Nothing is held any more: what makes the answer whole may have to wait for another service.
        return await self._again(method, earlier)

    async def _first(
        self,
        tx: Transaction,
        scope: Scope,
        digest: bytes,
        outlived: Record | None,
        run: Callable[[], Awaitable[Message]],
    ) -> Message | SealgateError:
        """What running the request answers, kept in the place of a record that is `outlived`."""
        answer: Message | SealgateError
        try:
            async with tx.savepoint():
                answer = await run()
        except SealgateError as refusal:
            if refusal.row.http_status != _RECORDED_HTTP_STATUS:
                raise
            answer = refusal
        await replace_record(tx, scope, outlived, Record(digest, *_kept(answer), self._clock.now_ns()))
        return answer

    async def _again(self, method: Method, record: Record) -> Message | SealgateError:
        headers = request_context.current().answer_headers
        if record.outcome != _OK:
            headers[metadata.IDEMPOTENT_REPLAYED] = "true"
            return error_from_status(record.answer) or SealgateError(
                Code.INTERNAL, internal=f"{method.full_name} has an unreadable answer on record"
            )
        response = GetMessageClass(method.descriptor.output_type).FromString(record.answer)
        complete = self._completions.get(method.full_name)
        if complete is not None:
            await complete(response)
        headers[metadata.IDEMPOTENT_REPLAYED] = "true"
        omitted = {name for message, name in _secrets(response) if not getattr(message, name)}
        if omitted:
            headers[metadata.IDEMPOTENT_OMITTED] = ", ".join(sorted(omitted))
        return response

    def _digest(self, method: Method, identity: Identity, request: Message) -> bytes:
        """What was asked, and how far it could reach: a pinned credential's request is another one."""
        by_credential = method.full_name in self._by_credential
        return digest_of(
            (
                method.full_name.encode(),
                str(identity.subaccount_index).encode(),
                # No id of a credential has a space in it.
                f"{identity.credential_id} {identity.origin}".encode() if by_credential else b"",
                request.SerializeToString(deterministic=True),
            )
        )


def _sent_keys(context: Context) -> list[str]:
    """Every key that came with the request."""
    return [
        value
        for name, value in context.invocation_metadata() or ()
        if name == metadata.IDEMPOTENCY_KEY and isinstance(value, str)
    ]


def _kept(answer: Message | SealgateError) -> tuple[str, bytes]:
    """An answer's outcome and bytes for the record, without what must not be at rest."""
    if isinstance(answer, SealgateError):
        return answer.code.value, status_from_error(answer).SerializeToString()
    kept = type(answer)()
    kept.CopyFrom(answer)
    for message, name in list(_secrets(kept)):
        message.ClearField(name)
    return _OK, kept.SerializeToString(deterministic=True)


def _secrets(message: Message) -> Iterator[tuple[Message, str]]:
    """Each field for a secret, set or not, of the message and of those that are set in it."""
    for field in message.DESCRIPTOR.fields:
        if field.GetOptions().debug_redact:
            yield message, field.name
        elif field.message_type is not None:
            for part in _parts(message, field):
                yield from _secrets(part)


def _parts(message: Message, field: Any) -> list[Message]:  # noqa: ANN401  (a descriptor, of either make)
    """The messages that a field holds, whichever way it holds them."""
    value: Any = getattr(message, field.name)
    if field.message_type.GetOptions().map_entry:
        return [part for part in value.values() if isinstance(part, Message)]
    if field.is_repeated:
        return list(value)
    return [value] if message.HasField(field.name) else []
