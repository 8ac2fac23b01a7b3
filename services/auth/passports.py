"""Passports: what an exchange grants, as signed claims for the other processes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from chassis.clock import Clock
from chassis.errors import Code, SealgateError, invalid
from chassis.identity import PassportSigner
from chassis.keyring import SigningKeys
from chassis.rpc import context as request_context
from chassis.rpc.bad_credentials import BadCredentials
from chassis.rpc.credentials import PresentedCredential
from sealgate.common.v1 import method_rule_pb2, passport_pb2
from services.auth.domain.browser_session import BrowserSessionState
from services.auth.domain.exchange import CredentialKind, Grant
from services.auth.exchange import CredentialExchange

_KIND_PREFIX: Final = "CREDENTIAL_KIND_"
_KINDS: Final[dict[int, CredentialKind]] = {
    method_rule_pb2.CredentialKind.Value(_KIND_PREFIX + kind): kind for kind in CredentialKind
}


class PassportOffice:
    """Turns credentials into passports for one deployment (`audience`)."""

    def __init__(
        self,
        audience: str,
        exchange: CredentialExchange,
        bad_credentials: BadCredentials,
        ring: SigningKeys,
        clock: Clock,
    ) -> None:
        self._audience = audience
        self._exchange = exchange
        self._bad_credentials = bad_credentials
        self._ring = ring
        self._signer = PassportSigner(ring, clock)
        self._clock = clock

    async def issue(
        self, credential: PresentedCredential, subject_account_id: str | None
    ) -> passport_pb2.Passport:
        """The passport of whoever shows `credential`.

        Raises what `CredentialExchange.exchange` raises, or RATE_LIMITED in place of a 401 when the
        client's address has shown too many bad credentials. A browser session token that is not good is
        one too, though what it came beside is: its own refusal is the method's to give, or not.
        """
        known = _KINDS.get(credential.kind)
        if known is None:
            raise invalid("kind", "must name a kind of credential")
        served = request_context.current()
        try:
            grant = await self._exchange.exchange(known, credential, subject_account_id)
        except SealgateError as refusal:
            raise await self._bad_credentials.answer(refusal, served.client_address) from None
        if grant.browser_session.state is BrowserSessionState.INVALID:
            bad_token = SealgateError(Code.SESSION_INVALID)
            answer = await self._bad_credentials.answer(
                bad_token, served.client_address, served.answer_headers
            )
            if answer is not bad_token:
                raise answer
        return self._signer.sign(_claims(self._audience, grant, self._clock.now_ns()))

    async def exchange(self, credential: PresentedCredential, subject_account_id: str | None) -> bytes:
        """See `chassis.rpc.exchange.Exchanger`: for auth's own public listener, without a hop."""
        passport = await self.issue(credential, subject_account_id)
        return passport.SerializeToString()

    def public_keys(self) -> Mapping[str, bytes]:
        """The keys that verify passports (32 bytes) by name, those that do not sign yet included."""
        return self._ring.public_keys()


def _claims(audience: str, grant: Grant, now_ns: int) -> passport_pb2.PassportClaims:
    tenant, holder, page = grant.tenant, grant.holder, grant.page
    claims = passport_pb2.PassportClaims(
        audience=audience,
        project_id=str(tenant.project_id),
        credential_kind=method_rule_pb2.CredentialKind.Value(_KIND_PREFIX + grant.kind),
        credential_id=grant.credential_id,
        scopes=grant.scopes,
        modules=tenant.modules,
        subaccount_index=grant.subaccount_index,
        channel=passport_pb2.CHANNEL_SERVER if page is None else passport_pb2.CHANNEL_BROWSER,
        issued_at_ns=now_ns,
        expires_at_ns=grant.passport_expires_at_ns(now_ns),
        credential_expires_at_ns=grant.expires_at_ns,
        ends_revoked=grant.ends_revoked,
        project_status=passport_pb2.ProjectStatus.Value(f"PROJECT_STATUS_{tenant.status}"),
        browser_session=passport_pb2.BrowserSessionState.Value(
            f"BROWSER_SESSION_STATE_{grant.browser_session.state}"
        ),
        browser_session_expires_at_ns=grant.browser_session.expires_at_ns,
        limits=[
            passport_pb2.CredentialLimit(
                rate_class=method_rule_pb2.RateClass.ValueType(rate_class), per_minute_count=count
            )
            for rate_class, count in grant.limits
        ],
    )
    if page is not None:
        claims.origin, claims.origin_allowed = page.origin, page.is_allowed
        claims.origin_since_ns = page.since_ns
    if holder is not None:
        claims.account_id = str(holder.account_id)
        claims.account_number = holder.account_number
        claims.account_status = passport_pb2.AccountStatus.Value(f"ACCOUNT_STATUS_{holder.status}")
        claims.account_version = holder.version
    return claims
