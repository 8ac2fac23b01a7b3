"""Turning a credential into a passport by asking auth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

import grpc

from chassis.clock import Clock
from chassis.errors import Code, SealgateError
from chassis.limits import REQUEST_DEADLINE_SECONDS
from chassis.rpc import context as request_context
from chassis.rpc.client import ask
from chassis.rpc.credentials import PresentedCredential
from sealgate.auth.v1.identity_pb2 import ExchangeCredentialRequest, ListPassportKeysRequest
from sealgate.auth.v1.identity_pb2_grpc import IdentityServiceStub
from sealgate.common.v1.method_rule_pb2 import CredentialKind

_KEY_LOOKUP_SECONDS: Final = 2.0


class Exchanger(Protocol):
    """Where passports come from."""

    async def exchange(self, credential: PresentedCredential, subject_account_id: str | None) -> bytes:
        """The serialized Passport of a credential; raises the refusal's SealgateError."""
        ...


async def passport_of(
    exchanger: Exchanger, credential: PresentedCredential, subject_account_id: str | None
) -> bytes:
    """The serialized Passport for a call that names `subject_account_id`, where it names one.

    For an account that the project does not have it is the project's own: the method then refuses with
    ACCOUNT_NOT_FOUND, as it refuses everything else to somebody known. Raises what the exchange raises.
    """
    try:
        return await exchanger.exchange(credential, subject_account_id)
    except SealgateError as error:
        if error.code is not Code.ACCOUNT_NOT_FOUND or subject_account_id is None:
            raise
        return await exchanger.exchange(credential, None)


class RemoteExchanger:
    """Asks auth over its internal listener."""

    def __init__(
        self, channel: grpc.aio.Channel, clock: Clock, *, at_most_seconds: float = REQUEST_DEADLINE_SECONDS
    ) -> None:
        self._auth = IdentityServiceStub(channel)
        self._clock = clock
        self._at_most_seconds = at_most_seconds

    async def exchange(self, credential: PresentedCredential, subject_account_id: str | None) -> bytes:
        """See `Exchanger.exchange`; UNAVAILABLE when auth does not answer."""
        request = exchange_request(credential, subject_account_id)
        served = request_context.current_or_none()
        response = await ask(
            self._auth.ExchangeCredential,
            request,
            self._clock,
            at_most_seconds=self._at_most_seconds,
            answer_headers=None if served is None else served.answer_headers,
        )
        return response.passport.SerializeToString()

    async def passport_keys(self) -> Mapping[str, bytes]:
        """Auth's public passport keys by name; UNAVAILABLE when auth does not answer."""
        response = await ask(
            self._auth.ListPassportKeys,
            ListPassportKeysRequest(),
            self._clock,
            at_most_seconds=_KEY_LOOKUP_SECONDS,
        )
        return {key.kid: key.public_key for key in response.keys}


def exchange_request(
    credential: PresentedCredential, subject_account_id: str | None
) -> ExchangeCredentialRequest:
    """The request that asks auth about a credential."""
    return ExchangeCredentialRequest(
        kind=CredentialKind.ValueType(credential.kind),
        credential=credential.text,
        origin=credential.origin,
        subject_account_id=subject_account_id,
        session_token=credential.session_token,
    )
