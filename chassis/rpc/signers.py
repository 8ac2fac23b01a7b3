"""Who stands behind a signature: a key's facts, which never change, and how its account stands now."""

from __future__ import annotations

import uuid
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol

import grpc

from chassis.clock import Clock
from chassis.errors import Code, SealgateError
from chassis.limits import KNOWN_SIGNERS_COUNT
from chassis.rpc.client import ask, in_time
from chassis.signing import Role, Signer, SignerKind
from chassis.single_flight import SingleFlight
from sealgate.auth.v1 import signer_pb2
from sealgate.auth.v1.signer_pb2_grpc import SignerServiceStub
from sealgate.common.v1 import method_rule_pb2
from sealgate.keys.v1 import signer_facts_pb2

_KINDS: Final = {
    method_rule_pb2.CREDENTIAL_KIND_MASTER_KEY: SignerKind.MASTER_KEY,
    method_rule_pb2.CREDENTIAL_KIND_SESSION_KEY: SignerKind.SESSION_KEY,
}
_ROLES: Final = {
    signer_facts_pb2.SIGNING_ROLE_FULL_ACCESS: Role.FULL_ACCESS,
    signer_facts_pb2.SIGNING_ROLE_TRADING_ONLY: Role.TRADING_ONLY,
}


@dataclass(frozen=True, slots=True)
class Standing:
    """What decides whether an account is served; the states are those of the passport."""

    project_id: uuid.UUID
    account_number: int
    project_status: int
    account_status: int
    account_version: int
    modules: frozenset[str]
    allowed_origins: frozenset[str]


@dataclass(frozen=True, slots=True)
class KnownSigner:
    """A key of an account, and how the account stands."""

    signer: Signer
    standing: Standing


class SignerDirectory(Protocol):
    """Where a service finds the keys whose signatures it verifies."""

    async def known_signer(self, account_id: uuid.UUID, public_key: bytes) -> KnownSigner | None:
        """The account's key, revoked or not; None when the account never had it.

        Asked after the signature held. The service's database knows the key when this has answered.
        Raises UNAVAILABLE.
        """
        ...


_Name = tuple[uuid.UUID, bytes]

Remember = Callable[[uuid.UUID, bytes], Awaitable[None]]
"""Makes a key of an account known to the service's database."""


class RemoteStandings:
    """Asks auth how an account stands, each time anew."""

    def __init__(self, channel: grpc.aio.Channel, clock: Clock) -> None:
        self._auth = SignerServiceStub(channel)
        self.clock = clock

    async def standing(self, account_id: uuid.UUID) -> Standing | None:
        """How the account stands, None when there is none; raises UNAVAILABLE when auth does not answer."""
        return _standing(await self.resolve(account_id, b""))

    async def resolve(self, account_id: uuid.UUID, public_key: bytes) -> signer_pb2.ResolveSignerResponse:
        """Auth's answer about a key, or about the account alone where the key is empty; raises as above."""
        request = signer_pb2.ResolveSignerRequest(account_id=str(account_id), public_key=public_key)
        return await ask(self._auth.ResolveSigner, request, self.clock)


class RemoteSigners:
    """The directory of a service that owns no keys: auth's answers, of which it keeps the facts.

    An unknown key is never remembered, so that a new one works at once. `remember` has made a key known
    to the service's database before it is used for the first time. Who come together with a key that is
    not kept ask about it once; each of them knows the account's standing as of when he came, or later.
    """

    def __init__(
        self,
        standings: RemoteStandings,
        remember: Remember,
        *,
        kept_count: int = KNOWN_SIGNERS_COUNT,
    ) -> None:
        self._standings = standings
        self._remember = remember
        self._kept_count = kept_count
        self._signers: OrderedDict[_Name, Signer] = OrderedDict()
        self._fetching: SingleFlight[_Name, KnownSigner | None] = SingleFlight(self._fetched)

    async def known_signer(self, account_id: uuid.UUID, public_key: bytes) -> KnownSigner | None:
        """See `SignerDirectory.known_signer`."""
        name = (account_id, public_key)
        signer = self._signers.get(name)
        if signer is not None:
            self._signers.move_to_end(name)
        else:
            has_joined = self._fetching.is_asking(name)
            known = await self._answered(name)
            if has_joined and known is None:
                # The key may have come after that question; whatever is on its way now was asked later.
                return await self._answered(name)
            if not has_joined or known is None:
                return known
            # A key's facts are the same at all times, and the standing is not.
            signer = known.signer
        standing = await self._standings.standing(account_id)
        return None if standing is None else KnownSigner(signer, standing)

    async def close(self) -> None:
        """Ends what is being asked."""
        await self._fetching.close()

    async def _answered(self, name: _Name) -> KnownSigner | None:
        return await in_time(lambda: self._fetching.answer(name), self._standings.clock)

    async def _fetched(self, name: _Name) -> KnownSigner | None:
        account_id, public_key = name
        answer = await self._standings.resolve(account_id, public_key)
        standing = _standing(answer)
        if standing is None or not answer.HasField("facts"):
            return None
        signer = _signer(account_id, public_key, answer.facts)
        await self._remember(account_id, public_key)
        self._signers[name] = signer
        if len(self._signers) > self._kept_count:
            self._signers.popitem(last=False)
        return KnownSigner(signer, standing)


def _signer(account_id: uuid.UUID, public_key: bytes, facts: signer_facts_pb2.SignerFacts) -> Signer:
    """The facts under the name that was asked for, which is all that the signature speaks for."""
    try:
        return Signer(
            account_id=account_id,
            public_key=public_key,
            kind=_KINDS[facts.kind],
            role=_ROLES[facts.role],
            subaccount_index=facts.subaccount_index if facts.HasField("subaccount_index") else None,
            admin_rooted=facts.admin_rooted,
            valid_until_ns=facts.valid_until_ns if facts.HasField("valid_until_ns") else None,
        )
    except KeyError as error:
        raise SealgateError(Code.INTERNAL, internal=f"facts of a key with unknown words: {error}") from None


def _standing(answer: signer_pb2.ResolveSignerResponse) -> Standing | None:
    if not answer.HasField("standing"):
        return None
    standing = answer.standing
    return Standing(
        project_id=uuid.UUID(standing.project_id),
        account_number=standing.account_number,
        project_status=standing.project_status,
        account_status=standing.account_status,
        account_version=standing.account_version,
        modules=frozenset(standing.modules),
        allowed_origins=frozenset(standing.allowed_origins),
    )
