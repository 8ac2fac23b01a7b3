"""Passports, and the public keys of tokens."""
# ruff: noqa: N802 - gRPC gives the methods their names

from __future__ import annotations

from collections.abc import Sequence

from chassis.errors import invalid
from chassis.methods import CredentialKind
from chassis.rpc.credentials import PresentedCredential
from sealgate.auth.v1 import identity_pb2, identity_pb2_grpc
from services.auth.passports import PassportOffice
from services.auth.ports import PublishedKeys
from services.auth.transport.messages import Context


class IdentityServicer(identity_pb2_grpc.IdentityServiceServicer):
    """Passports for the edge and the other services."""

    def __init__(self, office: PassportOffice) -> None:
        self._office = office

    async def ExchangeCredential(
        self, request: identity_pb2.ExchangeCredentialRequest, context: Context
    ) -> identity_pb2.ExchangeCredentialResponse:
        """The passport of whoever shows a credential."""
        subject = request.subject_account_id if request.HasField("subject_account_id") else None
        passport = await self._office.issue(_presented(request), subject)
        return identity_pb2.ExchangeCredentialResponse(passport=passport)

    async def ListPassportKeys(
        self, request: identity_pb2.ListPassportKeysRequest, context: Context
    ) -> identity_pb2.ListPassportKeysResponse:
        """The keys that verify passports."""
        keys = self._office.public_keys()
        return identity_pb2.ListPassportKeysResponse(
            keys=[identity_pb2.PassportKey(kid=kid, public_key=key) for kid, key in keys.items()]
        )


class TokenKeyServicer(identity_pb2_grpc.TokenKeyServiceServicer):
    """The public keys of tokens, those of one kind after the other."""

    def __init__(self, kinds: Sequence[PublishedKeys]) -> None:
        self._kinds = kinds

    async def GetJsonWebKeySet(
        self, request: identity_pb2.GetJsonWebKeySetRequest, context: Context
    ) -> identity_pb2.GetJsonWebKeySetResponse:
        """The keys as a JSON Web Key Set."""
        keys = [identity_pb2.JsonWebKey(**key) for kind in self._kinds for key in kind.json_web_keys()]
        return identity_pb2.GetJsonWebKeySetResponse(keys=keys)


def _presented(request: identity_pb2.ExchangeCredentialRequest) -> PresentedCredential:
    try:
        kind = CredentialKind(request.kind)
    except ValueError:
        raise invalid("kind", "must name a kind of credential") from None
    return PresentedCredential(
        kind,
        request.credential,
        request.origin if request.HasField("origin") else None,
        request.session_token if request.HasField("session_token") else None,
    )
