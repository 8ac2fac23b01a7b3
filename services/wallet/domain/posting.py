"""Double entry: every movement of money is a set of legs that sum to zero."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Leg:
    """What one movement does to one balance; `amount` in the asset's smallest units, never 0.

    `floor` is the least the balance may be, None for a rail's, which stands for the outside world.
    """

    wallet_id: uuid.UUID
    asset_id: int
    amount: int
    floor: int | None = 0


def balanced(legs: Iterable[Leg]) -> tuple[Leg, ...]:
    """The legs of one movement, in the order in which their balances are to be locked.

    Everybody locks in that order, so no two movements wait for each other in a ring. Raises
    ValueError unless the legs sum to zero per asset, none is zero and no balance has two.
    """
    ordered = tuple(sorted(legs, key=lambda leg: (leg.wallet_id, leg.asset_id)))
    if len({(leg.wallet_id, leg.asset_id) for leg in ordered}) != len(ordered):
        raise ValueError("two legs on one balance")
    if any(leg.amount == 0 for leg in ordered):
        raise ValueError("a leg that moves nothing")
    sums: defaultdict[int, int] = defaultdict(int)
    for leg in ordered:
        sums[leg.asset_id] += leg.amount
    if not ordered or any(sums.values()):
        raise ValueError("legs that do not sum to zero")
    return ordered
