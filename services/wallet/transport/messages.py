"""What all servicers share: who calls, when, and the few messages that are in several answers."""

from __future__ import annotations

from typing import Any, Protocol

import grpc

from chassis.clock import Clock
from chassis.rpc import context as request_context
from services.wallet.domain.audit import Act, ActorKind
from services.wallet.domain.market import SCALE
from services.wallet.domain.money import format_amount
from services.wallet.domain.statement import Page, list_page
from services.wallet.domain.wallet import Reach

Context = grpc.aio.ServicerContext[Any, Any]


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


def act_of_caller(clock: Clock) -> Act:
    """The request as an act of the credential that was shown."""
    identity = request_context.identity()
    return Act(
        actor_kind=ActorKind(identity.kind.name),
        actor_id=identity.credential_id,
        request_id=request_context.current().request_id,
        at_ns=clock.now_ns(),
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
