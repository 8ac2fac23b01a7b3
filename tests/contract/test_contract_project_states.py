"""What goes on in a project by its status and modules, which the operator sets: at once, and back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import grpc
import pytest

from chassis.errors import Code
from chassis.rpc.errors import error_from_rpc
from sealgate.wallet.v1 import order_pb2
from sealgate.wallet.v1 import signed_body_pb2 as wallet_pb2
from tests.cluster import Cluster
from tests.contract.channel_support import PAGE, TRANSPORTS, Caller, Page, make_page
from tests.platform_support import UNKNOWN_ID, good
from tests.signing_world import Signing, make_signing

ALL_MODULES: Final = ("wallet", "trading", "browser", "signing")
DUE, SUSPENDED, CANCELLED = "SUBSCRIPTION_PAST_DUE", "TENANT_SUSPENDED", "SUBSCRIPTION_CANCELLED"
OFF: Final = "MODULE_NOT_ENABLED"


def without(module: str) -> dict[str, Any]:
    """A project that has all modules but one."""
    return {"modules": tuple(name for name in ALL_MODULES if name != module)}


STATES: Final[Mapping[str, Mapping[str, Any]]] = {
    "active": {"status": "ACTIVE"},
    "past due": {"status": "PAST_DUE"},
    "suspended": {"status": "SUSPENDED"},
    "cancelled": {"status": "CANCELLED"},
    "no wallet": without("wallet"),
    "no trading": without("trading"),
    "no browser": without("browser"),
    "no signing": without("signing"),
}
# What is asked, and what it is answered where that is not its own answer. Refused whatever it is by a
# project that is suspended or cancelled.
EXPECTED: Final[Mapping[str, Mapping[str, str]]] = {
    "project key reads": {},
    "project key writes": {"past due": DUE},
    "project key starts a session": {"past due": DUE},
    "project key ends a session": {},
    "account is read": {},
    "API key is made": {"past due": DUE},
    "API key is deleted": {},
    "wallet is read": {"no wallet": OFF},
    "wallet is made": {"past due": DUE, "no wallet": OFF},
    "order is placed": {"past due": DUE, "no trading": OFF},
    "order is quoted": {"no trading": OFF},
    "order is cancelled": {"no trading": OFF},
    "master key is registered": {"past due": DUE, "no signing": OFF},
    "page reads": {"no wallet": OFF},
    "page mints a session": {"past due": DUE, "no browser": OFF},
    "page writes": {"past due": DUE, "no wallet": OFF, "no browser": OFF},
    "page cancels": {"no trading": OFF, "no browser": OFF},
    "account session writes on a page": {"past due": DUE, "no wallet": OFF},
    "signed wallet is made": {"past due": DUE, "no wallet": OFF, "no signing": OFF},
    "signed order is placed": {"past due": DUE, "no trading": OFF, "no signing": OFF},
    "signed order is cancelled": {"no trading": OFF, "no signing": OFF},
    "session key is minted": {"past due": DUE, "no signing": OFF},
    "session key is revoked": {"no signing": OFF},
    "session key lists devices": {"no signing": OFF},
    "signed request about money is looked up": {"no signing": OFF},
    "signed request about keys is looked up": {"no signing": OFF},
    "device reads": {"no wallet": OFF},
}
REFUSE_ALL: Final = {"suspended": SUSPENDED, "cancelled": CANCELLED}
# Whoever needs nobody's leave has it in every state.
ORDER: Final[dict[str, Any]] = {"wallet_id": UNKNOWN_ID, "token_id": "1", "side": "BUY", "amount": "1"}
ORDER_KIND: Final = {"type": "LIMIT", "price": "0.4", "units": "SHARES"}


SIGNED_ORDER: Final = wallet_pb2.PlaceOrder(
    wallet_id=UNKNOWN_ID,
    token_id="1",
    side=order_pb2.SIDE_BUY,
    type=order_pb2.ORDER_TYPE_LIMIT,
    price="0.4",
    amount="1",
    units=order_pb2.AMOUNT_UNITS_SHARES,
)


@dataclass(frozen=True, slots=True)
class Customer:
    """A project with everything: an account, its keys, a page, a device; and how it is asked."""

    signing: Signing
    page: Page
    device_key: str
    caller: Caller

    async def code(self, what: str) -> str:
        """What one of the things above is answered: a refusal's code, a status, or OK."""
        return await ACTS[what](self)

    async def plain(self, rpc: str, headers: Mapping[str, str], **fields: Any) -> str:  # noqa: ANN401
        """The code of an unsigned request; a thing that is not there counts as one that was let in."""
        code = (await self.caller.ask(rpc, headers, **fields)).code
        return "OK" if code.endswith("_NOT_FOUND") else code

    async def by_project(self, rpc: str, **fields: Any) -> str:  # noqa: ANN401
        """With the project key."""
        return await self.plain(rpc, {"x-project-api-key": self.signing.world.tenant.project_key}, **fields)

    async def by_session(self, rpc: str, **fields: Any) -> str:  # noqa: ANN401
        """With the account's session."""
        return await self.plain(rpc, {"authorization": f"Bearer {self.signing.world.token}"}, **fields)

    async def signed(self, rpc: str, body: Any = None, *, by_master: bool = False) -> str:  # noqa: ANN401
        """With a signed payload; one that is refused by the rules of the business was let in."""
        pair = self.signing.master if by_master else self.signing.session
        answer = await self.caller.ask_signed(self.signing, rpc, self.signing.signed(rpc, pair, body))
        return answer.code

    async def listed(self) -> str:
        """With a signature in headers."""
        signed = self.signing.signed_headers("ListDeviceKeys", self.signing.session)
        return (await self.caller.ask_signed(self.signing, "ListDeviceKeys", signed)).code


ACTS: Final[Mapping[str, Callable[[Customer], Awaitable[str]]]] = {
    "project key reads": lambda c: c.by_project("GetProject"),
    "project key writes": lambda c: c.by_project("UpdateProject", name="Renamed"),
    "project key starts a session": lambda c: c.by_project("CreateSession", account_id=c.signing.account_id),
    "project key ends a session": lambda c: c.by_project(
        "ExpireSession", account_id=c.signing.account_id, session_id=UNKNOWN_ID
    ),
    "account is read": lambda c: c.by_session("GetCurrentSession"),
    "API key is made": lambda c: c.by_session("CreateApiKey"),
    "API key is deleted": lambda c: c.by_session("DeleteApiKey", public_key="nobody's"),
    "wallet is read": lambda c: c.by_session("ListWallets"),
    "wallet is made": lambda c: c.by_session("CreateWallet"),
    "order is placed": lambda c: c.by_session("PlaceOrder", **ORDER, **ORDER_KIND),
    "order is quoted": lambda c: c.by_session("QuoteOrder", **ORDER, units="SHARES"),
    "order is cancelled": lambda c: c.by_session("CancelAllOrders", wallet_id=UNKNOWN_ID),
    "master key is registered": lambda c: registered(c),
    "page reads": lambda c: c.plain("ListWallets", c.page.writing),
    "page mints a session": lambda c: c.plain("CreateBrowserSession", c.page.reading),
    "page writes": lambda c: c.plain("CreateWallet", c.page.writing),
    "page cancels": lambda c: c.plain("CancelAllOrders", c.page.writing, wallet_id=UNKNOWN_ID),
    "account session writes on a page": lambda c: c.plain(
        "CreateWallet", {"authorization": f"Bearer {c.signing.world.token}", "origin": PAGE}
    ),
    "signed wallet is made": lambda c: c.signed("SubmitCreateWallet", wallet_pb2.CreateWallet(name="Mine")),
    "signed order is placed": lambda c: c.signed("SubmitPlaceOrder", SIGNED_ORDER),
    "signed order is cancelled": lambda c: c.signed("SubmitCancelAllOrders"),
    "session key is minted": lambda c: c.signed("SubmitMintSessionKey", by_master=True),
    "session key is revoked": lambda c: c.signed("SubmitRevokeSessionKey", by_master=True),
    "session key lists devices": lambda c: c.listed(),
    "signed request about money is looked up": lambda c: c.by_session("GetRequest", request_id=UNKNOWN_ID),
    "signed request about keys is looked up": lambda c: c.by_session("GetKeyRequest", request_id=UNKNOWN_ID),
    "device reads": lambda c: c.plain("ListWallets", {"x-device-key": c.device_key}),
}


async def registered(customer: Customer) -> str:
    """A second first master key is a conflict for an account that has one: it was let in."""
    code = await customer.by_project(
        "RegisterMasterKey",
        account_id=customer.signing.account_id,
        public_key=customer.signing.master.text,
        possession_signature="A" * 86 + "==",
    )
    return code if code in (DUE, OFF, *REFUSE_ALL.values()) else "OK"


@pytest.fixture(scope="module", params=TRANSPORTS)
async def customer(cluster: Cluster, request: pytest.FixtureRequest) -> Customer:
    """One for all: each test leaves its project as it was."""
    signing = await make_signing(cluster)
    good(await signing.world.by_project("PUT", "/api/v1/project", {"allowed_origins": [PAGE]}))
    device = await signing.submit_headers("CreateDeviceKey", signing.session, b"{}")
    page = await make_page(signing.world)
    return Customer(signing, page, device["secret_key"], Caller(cluster, request.param))


async def set_state(customer: Customer, **state: Any) -> None:  # noqa: ANN401
    await customer.signing.cluster.set_project(customer.signing.world.tenant.project_id, **state)


def test_every_act_has_its_row() -> None:
    """What is done is what is expected of, and no state is named that there is not."""
    assert list(ACTS) == list(EXPECTED)
    assert all(states.keys() <= STATES.keys() for states in EXPECTED.values())


@pytest.mark.parametrize("what", ACTS)
async def test_state_of_a_project_counts_from_the_next_request_on(customer: Customer, what: str) -> None:
    """Each state in turn, each straight from the one before, and in the end all is as it was."""
    expected = {**EXPECTED[what], **REFUSE_ALL}
    told = {}
    try:
        for name, state in STATES.items():
            await set_state(customer, **{"status": "ACTIVE", "modules": ALL_MODULES} | dict(state))
            told[name] = await customer.code(what)
    finally:
        await set_state(customer, status="ACTIVE", modules=ALL_MODULES)
    assert told == {name: expected.get(name, "OK") for name in STATES}
    assert await customer.code(what) == "OK"


@pytest.mark.parametrize("start", ["ACTIVE", "PAST_DUE", "SUSPENDED", "CANCELLED"])
async def test_project_is_brought_from_any_status_to_any(cluster: Cluster, start: str) -> None:
    """By the operator, who may have been wrong; its key shows the status that it may see."""
    project_id, key = await cluster.project()
    for end in ("ACTIVE", "PAST_DUE", "SUSPENDED", "CANCELLED"):
        await cluster.set_project(project_id, status=start)
        await cluster.set_project(project_id, status=end)
        answer = await cluster.rest("GET", "/api/v1/project", x_project_api_key=key)
        if end in ("ACTIVE", "PAST_DUE"):
            assert good(answer)["status"] == end
        else:
            assert answer.json()["error"]["code"] == REFUSE_ALL[end.lower()]


async def test_state_is_changed_member_by_member(cluster: Cluster) -> None:
    """Status alone leaves the modules, modules alone leave the status; neither changes the rest."""
    project_id, key = await cluster.project("wallet", "browser")
    before = good(await cluster.rest("GET", "/api/v1/project", x_project_api_key=key))
    await cluster.set_project(project_id, status="PAST_DUE")
    shown = good(await cluster.rest("GET", "/api/v1/project", x_project_api_key=key))
    assert shown == before | {"status": "PAST_DUE"}
    await cluster.set_project(project_id, modules=("trading",))
    shown = good(await cluster.rest("GET", "/api/v1/project", x_project_api_key=key))
    assert shown == before | {"status": "PAST_DUE", "modules": ["trading"]}


@pytest.mark.parametrize(
    ("project_id", "state", "code"),
    [
        (UNKNOWN_ID, {"status": "ACTIVE"}, Code.PROJECT_NOT_FOUND),
        ("nonsense", {"status": "ACTIVE"}, Code.PROJECT_NOT_FOUND),
        (None, {"modules": ("nonsense",)}, Code.VALIDATION_ERROR),
    ],
    ids=["unknown project", "no id", "unknown module"],
)
async def test_state_that_cannot_be_is_refused(
    cluster: Cluster, project_id: str | None, state: dict[str, Any], code: Code
) -> None:
    """And the project stays as it was."""
    known_id, key = await cluster.project()
    before = good(await cluster.rest("GET", "/api/v1/project", x_project_api_key=key))
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await cluster.set_project(project_id or known_id, **state)
    assert error_from_rpc(raised.value, "").code is code
    assert good(await cluster.rest("GET", "/api/v1/project", x_project_api_key=key)) == before


async def test_open_routes_ask_for_no_project(cluster: Cluster) -> None:
    """Markets, the time and the keys of tokens are everybody's."""
    for transport in TRANSPORTS:
        for rpc in ("ListMarkets", "GetTime", "GetJsonWebKeySet"):
            assert (await Caller(cluster, transport).ask(rpc, {"origin": PAGE})).code == "OK"
