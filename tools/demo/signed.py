"""The account that signs: keys, orders and money, and how its keys end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cli.stack_config import AUDIENCE
from sealgate.client import Sealgate
from tools.demo.guide import Guide
from tools.demo.signed_orders import open_desk, order_flow, revocation_flow
from tools.demo.signing_keys import (
    Holder,
    cap_flow,
    device_flow,
    logout_flow,
    master_key_flow,
    mint_flow,
    reader_flow,
)
from tools.demo.withdrawing import (
    address_flow,
    arrival_flow,
    refusal_flow,
    subaccount_flow,
    wait_until_usable,
    withdrawal_flow,
)


@dataclass(frozen=True, slots=True)
class OnItsWay:
    """A withdrawal that has begun, and the keys that are there to see its end."""

    withdrawal_id: str
    wallet_id: str
    session: Holder
    reader: Sealgate
    device: Sealgate


def signed_flow(guide: Guide, anybody: Sealgate, backend: Sealgate, data: Path) -> OnItsWay:
    """An account from its first master key to a withdrawal, which takes its time."""
    with guide.step("What time it is there, and the name that signatures are made for"):
        told = anybody.get_time()
    guide.check(told.audience == AUDIENCE, "the deployment's name")
    master = master_key_flow(guide, anybody, backend)
    session = mint_flow(guide, master, "Mint a session key for the whole account")
    reader = reader_flow(guide, session)
    device = device_flow(guide, session)
    first, second = subaccount_flow(guide, session, reader, data)
    address = address_flow(guide, master, session, first.wallet_id)
    title = "Mint a session key that is pinned to the subaccount"
    pinned = mint_flow(guide, master, title, second.subaccount_index)
    desk = open_desk(guide, pinned, second)
    request_id = order_flow(guide, desk, reader, first)
    with guide.silence():
        key = backend.create_account_api_key(
            account_id=str(master.signer.account_id), scopes=["wallet:read", "withdrawals:write"]
        )
    refusal_flow(guide, pinned, second.wallet_id, anybody.with_api_key(str(key.secret_key)))
    revocation_flow(guide, master, desk, request_id)
    cap_flow(guide, master)
    with guide.silence():
        wait_until_usable(anybody, address)
    withdrawal_id = withdrawal_flow(guide, session, first.wallet_id)
    return OnItsWay(withdrawal_id, first.wallet_id, session, reader, device)


def end_flow(guide: Guide, begun: OnItsWay) -> None:
    """The withdrawal arrives, and the session key ends with all that came from it."""
    arrival_flow(guide, begun.reader, begun.wallet_id, begun.withdrawal_id)
    logout_flow(guide, begun.session, begun.reader, begun.device)
