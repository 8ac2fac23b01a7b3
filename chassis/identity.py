"""Passports: who a request comes from, signed by auth and believed by every service.

The signature is Ed25519 over `"sealgate/passport/v1"`, a zero byte and the serialized claims; it is
verified over the bytes that arrived, never over a re-encoding. Only auth holds the private key.
"""

from __future__ import annotations

import uuid
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from google.protobuf.message import DecodeError
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey as NaclSigningKey
from nacl.signing import VerifyKey

from chassis.clock import NANOSECONDS_PER_SECOND, Clock
from chassis.errors import Code, SealgateError
from chassis.keyring import SigningKeys
from chassis.limits import PASSPORT_KEYS_MAX_AGE_SECONDS, PASSPORT_VERDICTS_COUNT
from chassis.methods import CredentialKind
from chassis.single_flight import SingleFlight
from sealgate.common.v1.passport_pb2 import (
    BROWSER_SESSION_STATE_UNSPECIFIED,
    CHANNEL_BROWSER,
    Passport,
    PassportClaims,
)

_DOMAIN: Final = b"sealgate/passport/v1\x00"
# An unknown key name asks auth for its keys, but no more often than this.
_KEY_LOOKUP_PAUSE_NS: Final = 1 * NANOSECONDS_PER_SECOND
_KEYS_MAX_AGE_NS: Final = PASSPORT_KEYS_MAX_AGE_SECONDS * NANOSECONDS_PER_SECOND

KeyLookup = Callable[[], Awaitable[Mapping[str, bytes]]]


@dataclass(frozen=True, slots=True)
class Identity:
    """A verified passport's claims in the types that handlers use.

    `limits` are pairs of a rate class and how many of its calls the credential has a minute, where the
    operator has set that for it.
    """

    project_id: uuid.UUID
    account_id: uuid.UUID | None
    account_number: int
    kind: CredentialKind
    credential_id: str
    scopes: frozenset[str]
    modules: frozenset[str]
    subaccount_index: int | None
    browser: bool
    origin: str
    project_status: int
    account_status: int
    account_version: int
    issued_at_ns: int
    expires_at_ns: int
    credential_expires_at_ns: int | None
    ends_revoked: bool = False
    origin_allowed: bool = False
    origin_since_ns: int = 0
    browser_session: int = BROWSER_SESSION_STATE_UNSPECIFIED
    browser_session_expires_at_ns: int | None = None
    limits: tuple[tuple[int, int], ...] = ()

    def account(self) -> uuid.UUID:
        """The account acted on; raises INTERNAL where the method table let none through."""
        if self.account_id is None:
            raise SealgateError(Code.INTERNAL, internal="the identity has no account")
        return self.account_id


def identity_from_claims(claims: PassportClaims) -> Identity:
    """Converts claims that auth made; raises ValueError for what auth cannot have made."""
    return Identity(
        project_id=uuid.UUID(claims.project_id),
        account_id=uuid.UUID(claims.account_id) if claims.account_id else None,
        account_number=claims.account_number,
        kind=CredentialKind(claims.credential_kind),
        credential_id=claims.credential_id,
        scopes=frozenset(claims.scopes),
        modules=frozenset(claims.modules),
        subaccount_index=claims.subaccount_index if claims.HasField("subaccount_index") else None,
        browser=claims.channel == CHANNEL_BROWSER,
        origin=claims.origin,
        project_status=claims.project_status,
        account_status=claims.account_status,
        account_version=claims.account_version,
        issued_at_ns=claims.issued_at_ns,
        expires_at_ns=claims.expires_at_ns,
        credential_expires_at_ns=(
            claims.credential_expires_at_ns if claims.HasField("credential_expires_at_ns") else None
        ),
        ends_revoked=claims.ends_revoked,
        origin_allowed=claims.origin_allowed,
        origin_since_ns=claims.origin_since_ns,
        browser_session=claims.browser_session,
        browser_session_expires_at_ns=(
            claims.browser_session_expires_at_ns if claims.HasField("browser_session_expires_at_ns") else None
        ),
        limits=tuple((limit.rate_class, limit.per_minute_count) for limit in claims.limits),
    )


class PassportSigner:
    """Signs passports with the ring's current key; auth alone has one."""

    def __init__(self, ring: SigningKeys, clock: Clock) -> None:
        self._ring = ring
        self._clock = clock
        self._kid = ""
        self._signer: NaclSigningKey | None = None

    def sign(self, claims: PassportClaims) -> Passport:
        """The passport of the claims."""
        key = self._ring.signing_key(self._clock.now_ns())
        if self._signer is None or key.kid != self._kid:
            self._kid, self._signer = key.kid, NaclSigningKey(key.seed)
        serialized = claims.SerializeToString()
        signature = self._signer.sign(_DOMAIN + serialized).signature
        return Passport(kid=key.kid, claims=serialized, signature=signature)


class PassportVerifier:
    """Verifies passports and remembers each distinct one's verdict until it expires.

    `look_up_keys` fetches auth's public keys by name; it is asked once at first and again, at most
    once a second, when a passport names a key that is not known yet. Passports that arrive together
    wait for one answer. A rotation needs no more: auth publishes a key long before it signs, so that
    whoever asks for it is told. After a minute the keys are asked for all the same, because what auth
    has withdrawn is not to be believed for ever; while auth does not answer, they stay.
    """

    def __init__(self, audience: str, clock: Clock, look_up_keys: KeyLookup) -> None:
        self._audience = audience
        self._clock = clock
        self._look_up_keys = look_up_keys
        self._keys: Mapping[str, bytes] = {}
        self._looked_up_at_ns: int | None = None
        self._renewing_since_ns: int | None = None
        self._looking_up: SingleFlight[None, None] = SingleFlight(self._refresh_keys)
        self._verdicts: OrderedDict[bytes, Identity] = OrderedDict()

    async def verify(self, passport_bytes: bytes) -> Identity:
        """The identity in a serialized Passport.

        Raises CREDENTIAL_NOT_ACCEPTED for anything auth did not sign for this deployment, or that
        has expired; what auth would say of the credential now where that has ended with it;
        UNAVAILABLE when auth's keys are needed and cannot be had.
        """
        identity = self._verdicts.get(passport_bytes)
        if identity is None:
            identity = await self._verify_new(passport_bytes)
            self._verdicts[passport_bytes] = identity
            if len(self._verdicts) > PASSPORT_VERDICTS_COUNT:
                self._verdicts.popitem(last=False)
        now_ns = self._clock.now_ns()
        if identity.expires_at_ns <= now_ns:
            self._verdicts.pop(passport_bytes, None)
            raise _expired(identity, now_ns)
        return identity

    async def close(self) -> None:
        """Ends the question to auth that is on its way, if there is one."""
        await self._looking_up.close()

    async def _verify_new(self, passport_bytes: bytes) -> Identity:
        try:
            passport = Passport.FromString(passport_bytes)
        except DecodeError as error:
            raise _refused("not a passport") from error
        public_key = await self._public_key(passport.kid)
        try:
            VerifyKey(public_key).verify(_DOMAIN + passport.claims, passport.signature)
            claims = PassportClaims.FromString(passport.claims)
            identity = identity_from_claims(claims)
        except (BadSignatureError, DecodeError, ValueError) as error:
            raise _refused("bad passport signature") from error
        if claims.audience != self._audience:
            raise _refused("passport of another deployment")
        return identity

    async def _public_key(self, kid: str) -> bytes:
        if kid not in self._keys:
            if self._may_look_up():
                await self._looking_up.answer(None)
        elif self._is_renewal_due():
            self._renewing_since_ns = self._clock.monotonic_ns()
            with suppress(SealgateError):
                await self._looking_up.answer(None)
        key = self._keys.get(kid)
        if key is None:
            raise _refused("passport of an unknown key")
        return key

    async def _refresh_keys(self, _: None) -> None:
        self._keys = await self._look_up_keys()
        self._looked_up_at_ns = self._clock.monotonic_ns()

    def _is_renewal_due(self) -> bool:
        """Whether the keys are a minute old, and nobody has tried to renew them for as long."""
        tried = [at_ns for at_ns in (self._looked_up_at_ns, self._renewing_since_ns) if at_ns is not None]
        return self._clock.monotonic_ns() - max(tried, default=0) >= _KEYS_MAX_AGE_NS

    def _may_look_up(self) -> bool:
        last = self._looked_up_at_ns
        return last is None or self._clock.monotonic_ns() - last >= _KEY_LOOKUP_PAUSE_NS


def _expired(identity: Identity, now_ns: int) -> SealgateError:
    """The refusal of a passport past its end.

    A credential that ends while its request is on the way takes the passport with it, and its bearer
    is told so as in every other place.
    """
    ended_at_ns = identity.credential_expires_at_ns
    if ended_at_ns is None or now_ns < ended_at_ns:
        page_ended_at_ns = identity.browser_session_expires_at_ns
        if page_ended_at_ns is not None and page_ended_at_ns <= now_ns:
            return SealgateError(Code.SESSION_EXPIRED)
        return _refused("expired passport")
    if identity.kind is CredentialKind.ACCOUNT_SESSION:
        return SealgateError(Code.SESSION_EXPIRED)
    return SealgateError(Code.API_KEY_REVOKED if identity.ends_revoked else Code.API_KEY_EXPIRED)


def _refused(reason: str) -> SealgateError:
    return SealgateError(Code.CREDENTIAL_NOT_ACCEPTED, internal=reason)
