"""The exchange of a credential for the identity behind it: what is asked, of whom, in which order."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from chassis.clock import NANOSECONDS_PER_SECOND, Clock
from chassis.errors import Code, SealgateError
from chassis.ids import parse_uuid
from chassis.limits import LAST_USED_RESOLUTION_SECONDS
from chassis.secrets import device_key_digest, parse_device_key, parse_secret_key, public_key_of
from services.auth.bad_keys import BadKeys
from services.auth.domain.exchange import (
    CredentialKind,
    DeadKey,
    Grant,
    LiveApiKey,
    LiveDeviceKey,
    SessionStanding,
    admit_account_key,
    admit_device_key,
    admit_project_key,
    admit_session,
    dead_key_error,
)
from services.auth.ports import KeyDirectory, StandingStore, Tokens

_RESOLUTION_NS: Final = LAST_USED_RESOLUTION_SECONDS * NANOSECONDS_PER_SECOND


class CredentialExchange:
    """Decides who shows a credential. Nothing it says yes to is remembered."""

    def __init__(self, tokens: Tokens, store: StandingStore, keys: KeyDirectory, clock: Clock) -> None:
        self._tokens = tokens
        self._store = store
        self._keys = keys
        self._clock = clock
        self._bad_keys = BadKeys(clock)

    async def exchange(
        self, kind: CredentialKind, credential: str, origin: str | None, subject_account_id: str | None
    ) -> Grant:
        """Who shows `credential` in the header of `kind`, from `origin` if from a page.

        `subject_account_id` is the account that a project key is to act on; other kinds have their
        own. Raises the refusals listed in `services.auth.domain.exchange`.
        """
        if kind is CredentialKind.ACCOUNT_SESSION:
            return await self._session(credential, origin)
        if kind is CredentialKind.ACCOUNT_API_KEY:
            return await self._account_key(credential, origin)
        if kind is CredentialKind.DEVICE_KEY:
            return await self._device_key(credential, origin)
        return await self._project_key(credential, origin, subject_account_id)

    async def _session(self, token: str, origin: str | None) -> Grant:
        claims = self._tokens.verify(token)
        standing = await self._store.session_standing(claims.session_id)
        grant = admit_session(claims, standing, origin, self._clock.now_ns())
        return grant if standing is None else await self._touched(grant, standing)

    async def _touched(self, grant: Grant, standing: SessionStanding) -> Grant:
        """Notes the use of a session, which moves its idle end, unless that was done within 30 s."""
        session, now_ns = standing.session, self._clock.now_ns()
        if now_ns - session.last_used_at_ns < _RESOLUTION_NS:
            return grant
        last_used_at_ns = await self._store.touch_session(session.session_id, now_ns)
        if last_used_at_ns is None:
            return grant
        return replace(grant, expires_at_ns=replace(session, last_used_at_ns=last_used_at_ns).expires_at_ns)

    async def _account_key(self, secret: str, origin: str | None) -> Grant:
        key = await self._live_key(CredentialKind.ACCOUNT_API_KEY, secret)
        standing = await self._store.standing(key.project_id, key.account_id)
        return admit_account_key(key, standing, origin, self._clock.now_ns())

    async def _project_key(self, secret: str, origin: str | None, subject_account_id: str | None) -> Grant:
        key = await self._live_key(CredentialKind.PROJECT_KEY, secret)
        subject = None if subject_account_id is None else parse_uuid(subject_account_id)
        standing = await self._store.standing(key.project_id, subject)
        return admit_project_key(
            key,
            standing,
            names_subject=subject_account_id is not None,
            origin=origin,
            now_ns=self._clock.now_ns(),
        )

    async def _device_key(self, text: str, origin: str | None) -> Grant:
        key = await self._live_device_key(text)
        standing = await self._store.standing(key.project_id, key.account_id)
        return admit_device_key(key, standing, origin, self._clock.now_ns())

    async def _live_device_key(self, text: str) -> LiveDeviceKey:
        """The device key behind its text, asked in the order of `_live_key`."""
        secret = parse_device_key(text)
        if secret is None:
            raise SealgateError(Code.API_KEY_INVALID)
        self._refuse_remembered(CredentialKind.DEVICE_KEY, secret)
        answer = await self._keys.resolve_device(device_key_digest(secret))
        if isinstance(answer, DeadKey):
            self._bad_keys.remember(CredentialKind.DEVICE_KEY, secret, answer)
            raise dead_key_error(answer)
        return answer

    async def _live_key(self, kind: CredentialKind, secret: str) -> LiveApiKey:
        """The key behind a secret, cheapest question first: shape, memory, then the keys service."""
        seed = parse_secret_key(secret)
        if seed is None:
            raise SealgateError(Code.API_KEY_INVALID)
        self._refuse_remembered(kind, seed)
        answer = await self._keys.resolve(public_key_of(seed), kind)
        if isinstance(answer, DeadKey):
            self._bad_keys.remember(kind, seed, answer)
            raise dead_key_error(answer)
        return answer

    def _refuse_remembered(self, kind: CredentialKind, secret: bytes) -> None:
        remembered = self._bad_keys.recall(kind, secret)
        if remembered is not None:
            raise dead_key_error(remembered)
