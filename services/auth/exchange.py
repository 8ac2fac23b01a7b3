"""The exchange of a credential for the identity behind it: what is asked, of whom, in which order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace
from typing import Final, TypeVar

from chassis.clock import NANOSECONDS_PER_SECOND, Clock
from chassis.errors import Code, SealgateError
from chassis.ids import parse_uuid
from chassis.limits import LAST_USED_RESOLUTION_SECONDS
from chassis.rpc.credentials import PresentedCredential
from chassis.rpc.pages import is_listed, let_page_read
from chassis.secrets import device_key_digest, parse_device_key, parse_secret_key, public_key_of
from services.auth.bad_keys import BadKeys
from services.auth.domain.browser_session import ABSENT_BROWSER_SESSION, PageBinding
from services.auth.domain.exchange import (
    CredentialKind,
    DeadKey,
    Grant,
    LiveApiKey,
    LiveDeviceKey,
    SessionStanding,
    WebPage,
    admit_account_key,
    admit_device_key,
    admit_project_key,
    admit_session,
    dead_key_error,
)
from services.auth.ports import BrowserTokens, KeyDirectory, StandingStore, Tokens

_LiveKey = TypeVar("_LiveKey", LiveApiKey, LiveDeviceKey)
_RESOLUTION_NS: Final = LAST_USED_RESOLUTION_SECONDS * NANOSECONDS_PER_SECOND


class CredentialExchange:
    """Decides who shows a credential. Nothing it says yes to is remembered.

    As soon as it is known whose a credential is, the pages that it or its project lists may read the
    answer, also one that refuses it. An API key works from its own pages alone, a project key from none,
    and others from those of their project.
    """

    def __init__(
        self,
        tokens: Tokens,
        browser_tokens: BrowserTokens,
        store: StandingStore,
        keys: KeyDirectory,
        clock: Clock,
    ) -> None:
        self._tokens = tokens
        self._browser_tokens = browser_tokens
        self._store = store
        self._keys = keys
        self._clock = clock
        self._bad_keys = BadKeys(clock)

    async def exchange(
        self, kind: CredentialKind, shown: PresentedCredential, subject_account_id: str | None
    ) -> Grant:
        """Who shows a credential in the header of `kind`.

        `subject_account_id` is the account that a project key is to act on; other kinds have their
        own. Raises the refusals listed in `services.auth.domain.exchange`.
        """
        if kind is CredentialKind.ACCOUNT_SESSION:
            return await self._session(shown)
        if kind is CredentialKind.ACCOUNT_API_KEY:
            return await self._account_key(shown)
        if kind is CredentialKind.DEVICE_KEY:
            return await self._device_key(shown)
        return await self._project_key(shown, subject_account_id)

    async def _session(self, shown: PresentedCredential) -> Grant:
        claims = self._tokens.verify(shown.text)
        standing = await self._store.session_standing(claims.session_id)
        page = None
        if standing is not None and claims.names(standing.session):
            page = _page(shown.origin, standing.tenant.allowed_origins)
            _let_read(page)
        grant = admit_session(claims, standing, page, self._clock.now_ns())
        return grant if standing is None or not grant.is_use else await self._touched(grant, standing)

    async def _touched(self, grant: Grant, standing: SessionStanding) -> Grant:
        """Notes the use of a session, which moves its idle end, unless that was done within 30 s."""
        session, now_ns = standing.session, self._clock.now_ns()
        if now_ns - session.last_used_at_ns < _RESOLUTION_NS:
            return grant
        last_used_at_ns = await self._store.touch_session(session.session_id, now_ns)
        if last_used_at_ns is None:
            return grant
        return replace(grant, expires_at_ns=replace(session, last_used_at_ns=last_used_at_ns).expires_at_ns)

    async def _account_key(self, shown: PresentedCredential) -> Grant:
        key = await self._live_key(CredentialKind.ACCOUNT_API_KEY, shown)
        page = _page(shown.origin, key.origins)
        _let_read(page)
        if page is not None and page.is_allowed:
            page = replace(page, since_ns=key.origins[page.origin])
        standing = await self._store.standing(key.project_id, key.account_id)
        if standing is not None:
            # They may read that the key is not for them.
            _let_read(_page(shown.origin, standing.tenant.allowed_origins))
        grant = admit_account_key(key, standing, page, self._clock.now_ns())
        await self._note_use(grant, key)
        return self._with_browser_session(grant, shown.session_token)

    def _with_browser_session(self, grant: Grant, token: str | None) -> Grant:
        """Adds what the token beside a key is worth, from a page where the key itself works."""
        page, holder = grant.page, grant.holder
        if page is None or not page.is_allowed or holder is None:
            return grant
        if token is None:
            return replace(grant, browser_session=ABSENT_BROWSER_SESSION)
        binding = PageBinding(
            project_id=grant.tenant.project_id,
            account_id=holder.account_id,
            account_version=holder.version,
            public_key=grant.credential_id,
            origin=page.origin,
            origin_since_ns=page.since_ns,
        )
        return replace(grant, browser_session=self._browser_tokens.judge(token, binding))

    async def _project_key(self, shown: PresentedCredential, subject_account_id: str | None) -> Grant:
        key = await self._live_key(CredentialKind.PROJECT_KEY, shown)
        subject = None if subject_account_id is None else parse_uuid(subject_account_id)
        standing = await self._store.standing(key.project_id, subject)
        page = None
        if shown.origin is not None and standing is not None:
            _let_read(_page(shown.origin, standing.tenant.allowed_origins))
            page = WebPage(shown.origin, is_allowed=False)
        grant = admit_project_key(
            key,
            standing,
            names_subject=subject_account_id is not None,
            page=page,
            now_ns=self._clock.now_ns(),
        )
        await self._note_use(grant, key)
        return grant

    async def _note_use(self, grant: Grant, key: LiveApiKey) -> None:
        """Notes the use of an API key, unless that was done within 30 s."""
        if grant.is_use and key.is_use_due:
            await self._keys.note_use(key.public_key)

    async def _device_key(self, shown: PresentedCredential) -> Grant:
        key = await self._live_device_key(shown)
        standing = await self._store.standing(key.project_id, key.account_id)
        page = None if standing is None else _page(shown.origin, standing.tenant.allowed_origins)
        _let_read(page)
        grant = admit_device_key(key, standing, page, self._clock.now_ns())
        if not grant.is_use or not key.is_use_due:
            return grant
        # As with sessions: a use moves the idle end, and is noted once in 30 s.
        expires_at_ns = await self._keys.note_device_use(key.digest)
        return grant if expires_at_ns is None else replace(grant, expires_at_ns=expires_at_ns)

    async def _live_device_key(self, shown: PresentedCredential) -> LiveDeviceKey:
        """The device key behind its text, asked in the order of `_live_key`."""
        secret = parse_device_key(shown.text)
        if secret is None:
            raise SealgateError(Code.API_KEY_INVALID)
        return await self._unless_dead(
            CredentialKind.DEVICE_KEY,
            secret,
            shown.origin,
            lambda: self._keys.resolve_device(device_key_digest(secret)),
        )

    async def _live_key(self, kind: CredentialKind, shown: PresentedCredential) -> LiveApiKey:
        """The key behind a secret, cheapest question first: shape, memory, then the keys service."""
        seed = parse_secret_key(shown.text)
        if seed is None:
            raise SealgateError(Code.API_KEY_INVALID)
        return await self._unless_dead(
            kind, seed, shown.origin, lambda: self._keys.resolve(public_key_of(seed), kind)
        )

    async def _unless_dead(
        self,
        kind: CredentialKind,
        secret: bytes,
        origin: str | None,
        ask: Callable[[], Awaitable[DeadKey | _LiveKey]],
    ) -> _LiveKey:
        """What `ask` answers, unless it is remembered or answered that the key is dead."""
        dead = self._bad_keys.recall(kind, secret)
        if dead is None:
            answer = await ask()
            if not isinstance(answer, DeadKey):
                return answer
            dead = answer
            self._bad_keys.remember(kind, secret, dead)
        raise await self._refusal(dead, origin)

    async def _refusal(self, dead: DeadKey, origin: str | None) -> SealgateError:
        """Why a dead key is refused, which its own pages and its project's may read."""
        if origin is not None and dead.project_id is not None:
            page = _page(origin, dead.origins)
            if page is not None and not page.is_allowed:
                standing = await self._store.standing(dead.project_id, None)
                page = None if standing is None else _page(origin, standing.tenant.allowed_origins)
            _let_read(page)
        return dead_key_error(dead.state)


def _page(origin: str | None, origins: Collection[str]) -> WebPage | None:
    """The page that a credential with `origins` is shown from, and whether it works there."""
    return None if origin is None else WebPage(origin, is_allowed=is_listed(origin, origins))


def _let_read(page: WebPage | None) -> None:
    """A page where the credential works may read the answer."""
    if page is not None and page.is_allowed:
        let_page_read(page.origin)
