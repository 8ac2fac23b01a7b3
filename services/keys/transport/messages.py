"""What all servicers share: who calls, what he is about to do, and to which key."""

from __future__ import annotations

from typing import Any

import grpc

from chassis.clock import Clock
from chassis.errors import Code, SealgateError
from chassis.ids import Ids
from chassis.methods import CredentialKind
from chassis.rpc import context as request_context
from chassis.secrets import parse_public_key
from sealgate.common.v1 import passport_pb2
from services.keys.domain.api_key import Owner
from services.keys.domain.authority import AccountStanding, Act, ActorKind

Context = grpc.aio.ServicerContext[Any, Any]


def act_of_caller(clock: Clock, ids: Ids) -> Act:
    """The request as an act of the credential that was shown."""
    return _act_at(clock.now_ns(), ids)


def act_of_signer(ids: Ids) -> Act:
    """The signed request as an act of the key that signed it, at the time that it counts as decided."""
    return _act_at(request_context.signed().processed_at_ns, ids)


def act_of(kind: ActorKind, actor_id: str, clock: Clock, ids: Ids) -> Act:
    """An act of somebody of our own, who needs no identity."""
    request_id = request_context.current().request_id
    return Act(kind, actor_id, audit_id=ids.uuid7(), request_id=request_id, at_ns=clock.now_ns())


def account() -> Owner:
    """The account that the request acts on."""
    identity = request_context.identity()
    return Owner(identity.project_id, identity.account())


def named_key(text: str) -> bytes:
    """The 32 bytes of a public key as callers write it; API_KEY_NOT_FOUND for what is none."""
    public_key = parse_public_key(text)
    if public_key is None:
        raise SealgateError(Code.API_KEY_NOT_FOUND)
    return public_key


def _act_at(at_ns: int, ids: Ids) -> Act:
    identity = request_context.identity()
    # A session gives no scope that it lacks; what a signer may give, its reach and its role say.
    by_session = identity.kind is CredentialKind.ACCOUNT_SESSION
    account = None
    if identity.account_id is not None:
        suspended = identity.account_status != passport_pb2.ACCOUNT_STATUS_ACTIVE
        account = AccountStanding(suspended, identity.account_version)
    return Act(
        actor_kind=ActorKind(identity.kind.name),
        actor_id=identity.credential_id,
        audit_id=ids.uuid7(),
        request_id=request_context.current().request_id,
        at_ns=at_ns,
        account=account,
        grantable_scopes=identity.scopes if by_session else None,
    )
