"""Signed requests: verified where their effect is, run once, answered with what became of them.

What may be told of an account is told only when a signature by one of its keys has held. From then on a
request is on record under its id, whether it did what it asks for or was refused, and the record commits
with the effect. A repeat is told what became of the first and never runs.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

import grpc
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from chassis.clock import Clock
from chassis.db.signed_requests import (
    Claim,
    Sighting,
    Use,
    claim_request,
    find_repeat,
    find_request,
    insert_request,
)
from chassis.db.tx import Database, Transaction
from chassis.errors import Code, SealgateError
from chassis.identity import Identity
from chassis.methods import CredentialKind, Effect, Method, MethodTableError, SignerNeed
from chassis.rpc import context as request_context
from chassis.rpc.authn import authorize
from chassis.rpc.bad_credentials import BadCredentials
from chassis.rpc.envelope import SignedRequest, request_reader
from chassis.rpc.errors import Handler
from chassis.rpc.limiting import CallLimits
from chassis.rpc.outcomes import OutcomeFields, outcome_message
from chassis.rpc.pages import is_listed, let_page_read
from chassis.rpc.signers import KnownSigner, SignerDirectory
from chassis.signing import (
    Refused,
    Rejections,
    RequestRecord,
    Role,
    Signer,
    Status,
    check_request_time,
    verify,
)
from chassis.turns import Turns
from sealgate.common.v1.passport_pb2 import (
    ACCOUNT_STATUS_SUSPENDED,
    PROJECT_STATUS_CANCELLED,
    PROJECT_STATUS_SUSPENDED,
)

_MODULE: Final = "signing"

Context = grpc.aio.ServicerContext[Any, Any]
Run = Callable[[], Awaitable[Message]]

AfterCommit = Callable[[uuid.UUID], Awaitable[None]]
"""What has to be done for an account between a request's commit and its answer; may refuse."""


@dataclass(frozen=True, slots=True)
class SignedRequests:
    """What a service says of the signed requests that it runs.

    `audience` is the deployment they are signed for, and `outcome_type` the message that tells later
    what became of one. `rejections` is by method, as what domain errors stay on record. `after_commit`
    is by request type, what follows the commit; it does so again when such a request is repeated.
    """

    database: Database
    clock: Clock
    audience: str
    directory: SignerDirectory
    outcome_type: type[Message]
    rejections: Mapping[str, Rejections] = field(default_factory=dict)
    after_commit: Mapping[int, AfterCommit] = field(default_factory=dict)


class SignedStage:
    """What authentication, limits and idempotency are to other methods, for those that are signed.

    Construction raises MethodTableError for a method whose requests cannot be read, and for rejections
    of what is no signed method.
    """

    def __init__(
        self,
        signed: SignedRequests,
        methods: Iterable[Method],
        limits: CallLimits,
        bad_credentials: BadCredentials,
    ) -> None:
        self._signed = signed
        self._limits = limits
        self._bad_credentials = bad_credentials
        # Of accounts: what an account's row in the database is to all processes.
        self._turns: Turns[uuid.UUID] = Turns()
        self._readers = {
            method.full_name: request_reader(method, signed.audience)
            for method in methods
            if method.is_signed
        }
        unknown = sorted(signed.rejections.keys() - self._readers.keys())
        if unknown:
            raise MethodTableError(f"{unknown[0]} is not signed, but has rejections")

    def wrap(self, method: Method, handler: Handler) -> Handler:
        """See `chassis.rpc.pipeline.Stage.wrap`."""
        if not method.is_signed:
            return handler
        read = self._readers[method.full_name]
        runner = _Runner(method, self._signed, self._turns)

        async def answer(request: Any, context: Context) -> Any:  # noqa: ANN401
            served = request_context.current()
            asked = read(request)
            served.request_id = asked.request_id
            check_request_time(asked.request_id, self._signed.clock.now_ns())
            try:
                known = await self._verified(asked)
                served.identity = _identity(known, served.origin, self._signed.clock.now_ns())
                if served.identity.origin_allowed:
                    let_page_read(served.identity.origin)
                refusal = await self._refusal(method, known, request, served)
                if refusal is not None and served.origin is not None and not served.identity.origin_allowed:
                    await runner.refuse(asked, known.signer, refusal)
                return await runner.answer(asked, known.signer, refusal, lambda: handler(request, context))
            except SealgateError as error:
                # Whose key has ended is known, and told of this limit and no other.
                headers = None if served.identity is None else served.answer_headers
                told = await self._bad_credentials.answer(error, served.client_address, headers)
                if told is error:
                    raise
                raise told from None

        return answer

    async def _verified(self, asked: SignedRequest) -> KnownSigner:
        """Whose signature it is; an unknown key and a wrong signature are one refusal."""
        if verify(asked.public_key, asked.message, asked.signature):
            known = await self._signed.directory.known_signer(asked.account_id, asked.public_key)
            if known is not None:
                return known
        raise SealgateError(Code.SIGNATURE_INVALID)

    async def _refusal(
        self,
        method: Method,
        known: KnownSigner,
        request: Any,  # noqa: ANN401
        served: request_context.RequestContext,
    ) -> SealgateError | None:
        """Why the account or the key may not do this, or not so often; None when nothing is in the way."""
        identity = request_context.identity()
        try:
            _refuse_unserved(known)
            try:
                if _MODULE not in identity.modules:
                    raise SealgateError(Code.MODULE_NOT_ENABLED)
                authorize(method, identity, request)
            except SealgateError:
                # Not counted, so that what a key may not do takes nothing from what it may.
                await self._limits.show(method, identity, served.answer_headers)
                raise
            await self._limits.take(method, identity, served.answer_headers)
        except SealgateError as refusal:
            return refusal
        return None


class _Runner:
    """Runs the requests of one method, each once."""

    def __init__(self, method: Method, signed: SignedRequests, turns: Turns[uuid.UUID]) -> None:
        self._method = method
        self._database = signed.database
        self._clock = signed.clock
        self._outcome_type = signed.outcome_type
        self._rejections = signed.rejections.get(method.full_name)
        self._after_commit = signed.after_commit
        self._turns = turns
        self._answer_type: Any = GetMessageClass(method.descriptor.output_type)
        self._outcome_fields = OutcomeFields(method.descriptor.output_type, signed.outcome_type)
        # What only reads may be read again; its answer would be no help later.
        self._is_recorded = method.effect is not Effect.READ

    async def answer(
        self, asked: SignedRequest, signer: Signer, refusal: SealgateError | None, run: Run
    ) -> Message:
        """What became of the request: now, or the first time; raises `refusal` unless it is a repeat."""
        if refusal is not None:
            await self._require_repeat(asked, signer, refusal)
        async with self._turns.turn([asked.account_id]), self._database.shared_transaction() as tx:
            claim = await claim_request(
                tx, asked.account_id, asked.public_key, asked.request_id, self._clock.now_ns()
            )
            answer = await self._in_turn(tx, claim, asked, signer, refusal, run)
        # Of a repeat that came by another route, what the first did is still to be followed up.
        followed_type = self._method.request_type
        if answer.status == Status.DUPLICATE.value:
            followed_type = answer.original.request_type
        after_commit = self._after_commit.get(followed_type)
        if after_commit is not None:
            await after_commit(asked.account_id)
        told: Message = answer
        return told

    async def refuse(self, asked: SignedRequest, signer: Signer, refusal: SealgateError) -> NoReturn:
        """Raises `refusal`, or before it that the key has ended, also for a repeat.

        For a page that may not ask: it is not told what became of an earlier request either.
        """
        sighting = await find_repeat(self._database, asked.account_id, asked.public_key, asked.request_id)
        _refuse_ended(signer, sighting, self._clock.now_ns())
        raise refusal

    async def _require_repeat(self, asked: SignedRequest, signer: Signer, refusal: SealgateError) -> None:
        """Refuses what would be no repeat, before it takes a turn: it may have come in great numbers."""
        sighting = await find_repeat(self._database, asked.account_id, asked.public_key, asked.request_id)
        if not self._is_repeat(sighting, asked):
            _refuse_ended(signer, sighting, self._clock.now_ns())
            raise refusal

    async def _in_turn(
        self,
        tx: Transaction,
        claim: Claim,
        asked: SignedRequest,
        signer: Signer,
        refusal: SealgateError | None,
        run: Run,
    ) -> Any:  # noqa: ANN401  (a message of the method's, whichever that is)
        if self._is_repeat(claim.sighting, asked):
            return await self._told_again(tx, claim, asked, signer)
        _refuse_ended(signer, claim.sighting, claim.processed_at_ns)
        if refusal is not None:
            raise refusal
        if self._is_recorded and claim.sighting.use is not None:
            return await self._told_again(tx, claim, asked, signer)
        call = request_context.SignedCall(
            body=asked.body,
            json_body=asked.json_body,
            request_id=asked.request_id,
            processed_at_ns=claim.processed_at_ns,
            signer=signer,
            subaccount_index=signer.subaccount_index,
        )
        request_context.current().signed = call
        answer: Message = await self._outcome(tx, signer, run)
        self._complete(answer, asked, claim)
        if self._is_recorded:
            await insert_request(tx, self._record(answer, asked, call), self._clock.now_ns())
        return answer

    def _is_repeat(self, sighting: Sighting, asked: SignedRequest) -> bool:
        """Whether this very request, by the same key, was made before."""
        return self._is_recorded and sighting.use == Use(asked.public_key, asked.digest)

    async def _outcome(self, tx: Transaction, signer: Signer, run: Run) -> Any:  # noqa: ANN401
        """The method's answer with its status; of a refused one nothing else stays."""
        try:
            self._require_needs(signer)
            async with tx.savepoint():
                answer: Any = await run()
            answer.status = Status.COMPLETED.value
        except Refused as refused:
            return self._refused(refused)
        except SealgateError as error:
            rejected = None if self._rejections is None else self._rejections.refusal_of(error)
            if rejected is None:
                raise
            return self._refused(rejected)
        return answer

    def _require_needs(self, signer: Signer) -> None:
        if SignerNeed.FULL_ACCESS in self._method.signer_needs and signer.role is not Role.FULL_ACCESS:
            raise Refused(Status.ROLE)
        if SignerNeed.ADMIN_ROOTED in self._method.signer_needs and not signer.admin_rooted:
            raise Refused(Status.NOT_ADMIN_ROOTED)

    def _refused(self, refused: Refused) -> Any:  # noqa: ANN401
        answer = self._answer_type(status=refused.status.value)
        for detail in refused.details:
            answer.details.add(path=detail.path, message=detail.message)
        return answer

    async def _told_again(
        self, tx: Transaction, claim: Claim, asked: SignedRequest, signer: Signer
    ) -> Message:
        """The answer to a repeat. Another key is told no more than what it reaches."""
        record = await find_request(tx, asked.account_id, asked.request_id)
        if record is None:
            raise SealgateError(Code.INTERNAL, internal="a record is gone")
        answer = self._answer_type(status=Status.DUPLICATE.value, same_payload=record.digest == asked.digest)
        if record.public_key == asked.public_key or signer.subaccount_index in (
            None,
            record.subaccount_index,
        ):
            answer.original.CopyFrom(outcome_message(self._outcome_type, record))
        self._complete(answer, asked, claim)
        told: Message = answer
        return told

    def _complete(self, answer: Any, asked: SignedRequest, claim: Claim) -> None:  # noqa: ANN401
        answer.success = answer.status == Status.COMPLETED.value
        answer.processed_at_ns = claim.processed_at_ns
        answer.request_id = str(asked.request_id)

    def _record(
        self,
        answer: Any,  # noqa: ANN401
        asked: SignedRequest,
        call: request_context.SignedCall,
    ) -> RequestRecord:
        return RequestRecord(
            account_id=asked.account_id,
            request_id=asked.request_id,
            request_type=self._method.request_type,
            public_key=asked.public_key,
            digest=asked.digest,
            status=answer.status,
            processed_at_ns=call.processed_at_ns,
            subaccount_index=call.subaccount_index,
            outcome=self._outcome_fields.serialized(answer),
        )


def _identity(known: KnownSigner, origin: str | None, now_ns: int) -> Identity:
    """The signer in the words of a passport, for whoever asks who calls."""
    signer, standing = known.signer, known.standing
    return Identity(
        project_id=standing.project_id,
        account_id=signer.account_id,
        account_number=standing.account_number,
        kind=CredentialKind[signer.kind.name],
        credential_id=base64.b64encode(signer.public_key).decode(),
        scopes=frozenset(),
        modules=standing.modules,
        subaccount_index=signer.subaccount_index,
        browser=origin is not None,
        origin=origin or "",
        origin_allowed=is_listed(origin, standing.allowed_origins),
        project_status=standing.project_status,
        account_status=standing.account_status,
        account_version=standing.account_version,
        issued_at_ns=now_ns,
        expires_at_ns=now_ns,
        credential_expires_at_ns=signer.valid_until_ns,
    )


def _refuse_unserved(known: KnownSigner) -> None:
    """Raises the refusal of a project or an account that is not served at all."""
    standing = known.standing
    if standing.project_status == PROJECT_STATUS_SUSPENDED:
        raise SealgateError(Code.TENANT_SUSPENDED)
    if standing.project_status == PROJECT_STATUS_CANCELLED:
        raise SealgateError(Code.SUBSCRIPTION_CANCELLED)
    if standing.account_status == ACCOUNT_STATUS_SUSPENDED:
        raise SealgateError(Code.ACCOUNT_SUSPENDED)


def _refuse_ended(signer: Signer, sighting: Sighting, now_ns: int) -> None:
    """Raises SESSION_EXPIRED and SESSION_INVALID for a key that signs no more."""
    if signer.valid_until_ns is not None and now_ns >= signer.valid_until_ns:
        raise SealgateError(Code.SESSION_EXPIRED)
    if sighting.revoked is None:
        raise SealgateError(
            Code.INTERNAL, internal="the database does not know a key that the directory knows"
        )
    if sighting.revoked:
        raise SealgateError(Code.SESSION_INVALID)
