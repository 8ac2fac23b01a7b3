"""Who calls, and whether the method table lets them: the same code behind both listeners."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import grpc

from chassis.errors import Code, Detail, SealgateError, invalid
from chassis.identity import Identity, PassportVerifier
from chassis.methods import CredentialKind, Effect, Exposure, Method
from chassis.rpc import context as request_context
from chassis.rpc import metadata
from chassis.rpc.credentials import carries_credential, collect_credential, origin_of_signed
from chassis.rpc.errors import Handler
from chassis.rpc.exchange import Exchanger, passport_of
from chassis.rpc.limiting import CallLimits
from chassis.rpc.pages import let_page_read
from sealgate.common.v1 import passport_pb2
from sealgate.common.v1.passport_pb2 import PROJECT_STATUS_PAST_DUE

PUBLIC_EXPOSURES: Final = frozenset({Exposure.PUBLIC, Exposure.OPEN})
INTERNAL_EXPOSURES: Final = frozenset(Exposure)

_BROWSER_MODULE: Final = "browser"
_BROWSER_SESSION_REFUSALS: Final[Mapping[int, Code]] = {
    passport_pb2.BROWSER_SESSION_STATE_UNSPECIFIED: Code.SESSION_REQUIRED,
    passport_pb2.BROWSER_SESSION_STATE_ABSENT: Code.SESSION_REQUIRED,
    passport_pb2.BROWSER_SESSION_STATE_INVALID: Code.SESSION_INVALID,
    passport_pb2.BROWSER_SESSION_STATE_EXPIRED: Code.SESSION_EXPIRED,
}
# The code's own text is of session tokens, and a page's developer has none to make.
_HOW_TO_GET_A_SESSION: Final = (
    Detail("X-Session-Token", "make one with POST /api/v1/sessions, from this page and with this key"),
)

Context = grpc.aio.ServicerContext[Any, Any]


class AuthenticationStage:
    """Establishes the identity of a call to a PUBLIC method and holds it against the method's row.

    With an `exchanger` it serves the public listener, where credentials come in and passports are
    refused; without one the internal listener, where it is the other way round. Who was recognised and
    refused is told how his `limits` stand. A signed method takes neither: see `chassis.rpc.signed`.
    """

    def __init__(self, verifier: PassportVerifier, exchanger: Exchanger | None, limits: CallLimits) -> None:
        self._verifier = verifier
        self._exchanger = exchanger
        self._limits = limits

    def wrap(self, method: Method, handler: Handler) -> Handler:
        """See `chassis.rpc.pipeline.Stage.wrap`."""
        if method.exposure is not Exposure.PUBLIC:
            return handler
        if method.is_signed:
            return self._without_credential(handler)

        async def answer(request: Any, context: Context) -> Any:  # noqa: ANN401
            passport = await self._passport(request, context, method)
            identity = await self._verifier.verify(passport)
            served = request_context.current()
            if identity.origin_allowed:
                let_page_read(identity.origin)
            try:
                authorize(method, identity, request)
            except SealgateError:
                # Not counted, so that what a credential may not do takes nothing from what it may.
                await self._limits.show(method, identity, served.answer_headers)
                raise
            served.passport, served.identity = passport, identity
            return await handler(request, context)

        return answer

    def _without_credential(self, handler: Handler) -> Handler:
        """`handler` of a signed method, whose request proves by itself who sent it."""

        async def answer(request: Any, context: Context) -> Any:  # noqa: ANN401
            texts, passports = _shown(context)
            if passports or (self._exchanger is None and carries_credential(texts)):
                raise SealgateError(Code.CREDENTIAL_NOT_ACCEPTED, internal="credential of a signed method")
            request_context.current().origin = origin_of_signed(texts)
            return await handler(request, context)

        return answer

    async def _passport(self, request: Any, context: Context, method: Method) -> bytes:  # noqa: ANN401
        texts, passports = _shown(context)
        if self._exchanger is None:
            return _shown_passport(texts, passports)
        if passports:
            raise SealgateError(Code.CREDENTIAL_NOT_ACCEPTED, internal="passport on the public listener")
        credential = collect_credential(texts, method)
        return await passport_of(self._exchanger, credential, subject_account(method, request))


def subject_account(method: Method, request: Any) -> str | None:  # noqa: ANN401  (any request message)
    """The account that the request names for a project key to act on, where the method has one."""
    field = method.subject_account_field
    return None if field is None else str(getattr(request, field))


def authorize(method: Method, identity: Identity, request: Any) -> None:  # noqa: ANN401
    """Holds a verified identity against a method's row.

    In this order: kind of credential, project state and modules, origin, scope, browser session,
    subject account. Raises the first refusal.
    """
    if identity.kind not in method.accepts:
        raise SealgateError(Code.CREDENTIAL_NOT_ACCEPTED)
    from_a_page = identity.browser and identity.kind is CredentialKind.ACCOUNT_API_KEY
    needs_browser_session = from_a_page and method.takes_browser_session
    _refuse_project(method, identity, needs_browser_session=needs_browser_session)
    if identity.browser and not identity.origin_allowed:
        raise SealgateError(Code.ORIGIN_NOT_ALLOWED)
    if method.for_pages and not identity.browser:
        raise invalid("Origin", "must be sent: this is for web pages, and bound to the page's origin")
    if method.scope is not None and method.scope not in identity.scopes:
        raise SealgateError(Code.SCOPE_NOT_GRANTED)
    if needs_browser_session:
        refusal = _BROWSER_SESSION_REFUSALS.get(identity.browser_session)
        if refusal is not None:
            raise SealgateError(
                refusal, details=_HOW_TO_GET_A_SESSION if refusal is Code.SESSION_REQUIRED else ()
            )
    subject = subject_account(method, request)
    if subject is not None and subject != str(identity.account_id):
        raise SealgateError(Code.ACCOUNT_NOT_FOUND, internal="passport is for another account")


def _refuse_project(method: Method, identity: Identity, *, needs_browser_session: bool) -> None:
    """Raises SUBSCRIPTION_PAST_DUE and MODULE_NOT_ENABLED; what is refused altogether never gets here."""
    if identity.project_status == PROJECT_STATUS_PAST_DUE and method.effect is Effect.WRITE:
        raise SealgateError(Code.SUBSCRIPTION_PAST_DUE)
    if method.module is not None and method.module not in identity.modules:
        raise SealgateError(Code.MODULE_NOT_ENABLED)
    # Without the module there are no browser sessions, the ones made before included.
    if needs_browser_session and _BROWSER_MODULE not in identity.modules:
        raise SealgateError(Code.MODULE_NOT_ENABLED)


def _shown(context: Context) -> tuple[list[tuple[str, str]], list[bytes]]:
    """The texts of a call's metadata, and the passports in it."""
    texts: list[tuple[str, str]] = []
    passports: list[bytes] = []
    for name, value in context.invocation_metadata() or ():
        if isinstance(value, str):
            texts.append((name, value))
        elif name == metadata.PASSPORT:
            passports.append(value)
    return texts, passports


def _shown_passport(texts: list[tuple[str, str]], passports: list[bytes]) -> bytes:
    if carries_credential(texts):
        raise SealgateError(Code.CREDENTIAL_NOT_ACCEPTED, internal="credential on the internal listener")
    if len(passports) != 1:
        raise SealgateError(Code.API_KEY_REQUIRED, internal="not exactly one passport")
    return passports[0]
