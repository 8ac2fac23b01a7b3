"""What all servicers share: who calls, when, and the few messages that are in several answers."""

from __future__ import annotations

from typing import Any, Final, Protocol

import grpc

from chassis.clock import Clock
from chassis.rpc import context as request_context
from chassis.rpc.context import SignedCall
from sealgate.wallet.v1 import signed_pb2
from services.wallet.domain.audit import Act, ActorKind
from services.wallet.domain.market import SCALE
from services.wallet.domain.money import format_amount
from services.wallet.domain.statement import Page, list_page
from services.wallet.domain.wallet import Reach, check_subaccount_index

Context = grpc.aio.ServicerContext[Any, Any]

SIGNED_REQUESTS: Final = signed_pb2.DESCRIPTOR.services_by_name["SignedRequestService"]
"""The proto service whose methods several modules implement a part of."""


class PageRequest(Protocol):
    """A request for a part of a list."""

    limit: int
    offset: int

    def HasField(self, field_name: Any, /) -> bool:  # noqa: ANN401, N802 - as protobuf has it
        """Whether a field was sent."""
        ...


def reach() -> Reach:
    """What the caller's credential can reach."""
    identity = request_context.identity()
    return Reach(identity.project_id, identity.account(), identity.subaccount_index)


def named_subaccount(call: SignedCall, index: int) -> Reach:
    """A reach of just the subaccount that the request names, which is then what it is about.

    Raises Refused with `rejected_scope` outside of the key's reach, SUBACCOUNT_NOT_FOUND for an index
    that none can have.
    """
    call.signer.require_reach(index)
    check_subaccount_index(index)
    call.subaccount_index = index
    within = reach()
    return Reach(within.project_id, within.account_id, index)


def act_of_caller(clock: Clock) -> Act:
    """The request as an act of the credential that was shown."""
    identity = request_context.identity()
    return Act(
        actor_kind=ActorKind(identity.kind.name),
        actor_id=identity.credential_id,
        request_id=request_context.current().request_id,
        at_ns=clock.now_ns(),
    )


def act_of_signer(call: SignedCall) -> Act:
    """A signed request as an act of its key, at the time at which it counts as decided."""
    identity = request_context.identity()
    return Act(
        actor_kind=ActorKind(identity.kind.name),
        actor_id=identity.credential_id,
        request_id=call.request_id,
        at_ns=call.processed_at_ns,
    )


def act_of_operator(clock: Clock) -> Act:
    """The request as an act of whoever can open the internal listener."""
    return Act(
        actor_kind=ActorKind.OPERATOR,
        actor_id="operator",
        request_id=request_context.current().request_id,
        at_ns=clock.now_ns(),
    )


def page_of(request: PageRequest) -> Page:
    """The part of a list that is asked for; raises VALIDATION_ERROR."""
    return list_page(
        request.limit if request.HasField("limit") else None,
        request.offset if request.HasField("offset") else None,
    )


def amount_text(units: int) -> str:
    """Shares, USDC and prices: millionths as decimal text with six digits."""
    return format_amount(units, SCALE)
