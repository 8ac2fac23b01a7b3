"""The one table of who may call what, against the contract's, and what it refuses to contain."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import pytest
from google.api import annotations_pb2
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import ServiceDescriptor

from chassis.clock import SystemClock
from chassis.config import ServiceConfig
from chassis.errors import Code, SealgateError
from chassis.identity import PassportVerifier
from chassis.ids import SystemIds
from chassis.methods import CredentialKind, Effect, Exposure, Method, MethodTableError, method_table
from chassis.rpc.credentials import PresentedCredential
from chassis.rpc.server import RpcServer, Service
from sealgate.common.v1 import method_rule_pb2 as rules

GENERATED = Path(__file__).parents[2] / "gen"
ACCOUNT = "/api/v1/project/account/{account_id}"
WALLET = "/api/v1/wallet/{wallet_id}"
POLICIES = {
    "PK": frozenset({CredentialKind.PROJECT_KEY}),
    "AS": frozenset({CredentialKind.ACCOUNT_SESSION}),
    "AK": frozenset({CredentialKind.ACCOUNT_API_KEY}),
    "AS AK": frozenset({CredentialKind.ACCOUNT_SESSION, CredentialKind.ACCOUNT_API_KEY}),
    "AS AK DK": frozenset(
        {CredentialKind.ACCOUNT_SESSION, CredentialKind.ACCOUNT_API_KEY, CredentialKind.DEVICE_KEY}
    ),
    "MK": frozenset({CredentialKind.MASTER_KEY}),
    "SK": frozenset({CredentialKind.SESSION_KEY}),
    "MK SK": frozenset({CredentialKind.MASTER_KEY, CredentialKind.SESSION_KEY}),
    "nobody": frozenset[CredentialKind](),
}

# What the contract says of each route, read off it by hand: RPC; verb and paths; status; who;
# scope; module; effect; the answer (an array, an object, or the message with its members), behind the
# word for its envelope where that is not the platform's (S is that of signed requests, B that of pages).
PROJECT_ROUTES = """
auth.Project.GetProject|GET /api/v1/project|200|PK|-|-|READ|object
auth.Project.UpdateProject|PUT /api/v1/project|200|PK|-|-|WRITE|object
keys.ApiKey.CreateProjectApiKey|POST /api/v1/project/api-key|201|PK|-|-|WRITE|object
keys.ApiKey.ListProjectApiKeys|GET /api/v1/project/api-key|200|PK|-|-|READ|array
keys.ApiKey.DeleteProjectApiKey|DELETE /api/v1/project/api-key/{public_key}|200|PK|-|-|REVOKE|message
auth.Account.CreateAccount|POST /api/v1/project/account|201|PK|-|-|WRITE|object
auth.Account.ListAccounts|GET /api/v1/project/account|200|PK|-|-|READ|array
auth.Account.GetAccount|GET ACCOUNT|200|PK|-|-|READ|object
auth.Account.ReplaceAccountMetadata|PUT ACCOUNT/metadata|200|PK|-|-|WRITE|object
auth.Account.SetAccountStatus|PUT ACCOUNT/status|200|PK|-|-|WRITE|object
auth.Session.CreateSession|POST ACCOUNT/session|201|PK|-|-|WRITE|object
auth.Session.ListSessions|GET ACCOUNT/sessions|200|PK|-|-|READ|array
auth.Session.RefreshSession|POST ACCOUNT/session/{session_id}/refresh|200|PK|-|-|WRITE|object
auth.Session.ExpireSession|POST ACCOUNT/session/{session_id}/expire|200|PK|-|-|REVOKE|message
auth.Session.ExpireAllSessions|POST ACCOUNT/sessions/expire-all|200|PK|-|-|REVOKE|message
keys.ApiKey.CreateAccountApiKey|POST ACCOUNT/api-key|201|PK|-|-|WRITE|object
keys.ApiKey.ListAccountApiKeys|GET ACCOUNT/api-key|200|PK|-|-|READ|array
keys.ApiKey.UpdateAccountApiKey|PUT ACCOUNT/api-key/{public_key}|200|PK|-|-|WRITE|object
keys.ApiKey.RotateAccountApiKey|POST ACCOUNT/api-key/{public_key}/rotate|201|PK|-|-|WRITE|object
keys.ApiKey.DeleteAccountApiKey|DELETE ACCOUNT/api-key/{public_key}|200|PK|-|-|REVOKE|message
keys.SigningKey.RegisterMasterKey|POST ACCOUNT/master-key|201|PK|-|signing|WRITE|object
wallet.Withdrawal.AddAccountWithdrawalAddress|POST ACCOUNT/withdrawal-address|201|PK|-|wallet|WRITE|object
"""
ACCOUNT_ROUTES = """
auth.Session.GetCurrentSession|GET /api/v1/account/session|200|AS AK DK|account:read|-|READ|message
auth.Session.ExpireCurrentSession|POST /api/v1/account/session/expire|200|AS|-|-|REVOKE|message
auth.BrowserSession.CreateBrowserSession|POST /api/v1/sessions|201|AK|-|browser|WRITE|B message
keys.ApiKey.ListApiKeys|GET /api/v1/account/api-key|200|AS AK|account:read|-|READ|array
keys.ApiKey.CreateApiKey|POST /api/v1/account/api-key|201|AS|keys:write|-|WRITE|object
keys.ApiKey.UpdateApiKey|PUT /api/v1/account/api-key/{public_key}|200|AS|keys:write|-|WRITE|object
keys.ApiKey.DeleteApiKey|DELETE /api/v1/account/api-key/{public_key}|200|AS|keys:write|-|REVOKE|message
wallet.Wallet.ListWallets|GET /api/v1/wallets, /api/v1/wallet|200|AS AK DK|wallet:read|wallet|READ|array
wallet.Wallet.ListChainWallets|GET /api/v1/wallet/pol|200|AS AK DK|wallet:read|wallet|READ|array
wallet.Wallet.GetWallet|GET WALLET|200|AS AK DK|wallet:read|wallet|READ|object
wallet.Wallet.CreateWallet|POST /api/v1/wallet|201|AS AK|wallet:write|wallet|WRITE|object
wallet.Wallet.UpdateWallet|PUT WALLET|200|AS AK|wallet:write|wallet|WRITE|object
wallet.Wallet.DeleteWallet|DELETE WALLET|200|AS AK|wallet:write|wallet|WRITE|message
wallet.Wallet.ListBalances|GET WALLET/balance|200|AS AK DK|wallet:read|wallet|READ|array
wallet.Wallet.GetChainBalance|GET POL/balance|200|AS AK DK|wallet:read|wallet|READ|object
wallet.Wallet.ListTransfers|GET WALLET/transfers, POL/transfers|200|AS AK DK|wallet:read|wallet|READ|array
wallet.Withdrawal.CreateWithdrawal|POST POL/withdraw|201|AS AK|withdrawals:write|wallet|WRITE|object
wallet.Withdrawal.ListWithdrawals|GET POL/withdrawals|200|AS AK DK|wallet:read|wallet|READ|array
wallet.Withdrawal.GetDepositAddress|GET POL/deposit/{chain}|200|AS AK DK|wallet:read|wallet|READ|object
wallet.Order.PlaceOrder|POST POL/order|201|AS AK|orders:write|trading|WRITE|object
wallet.Order.QuoteOrder|POST POL/order/quote|200|AS AK|wallet:read|trading|READ|object
wallet.Order.GetOrder|GET POL/order/{order_id}|200|AS AK DK|wallet:read|trading|READ|object
wallet.Order.CancelOrder|DELETE POL/order/{order_id}|200|AS AK|orders:write|trading|REVOKE|message
wallet.Order.CancelAllOrders|DELETE POL/orders|200|AS AK|orders:write|trading|REVOKE|message
wallet.Order.ListOrders|GET WALLET/orders, POL/orders|200|AS AK DK|wallet:read|trading|READ|array
wallet.Order.ListActiveOrders|GET POL/orders/active|200|AS AK DK|wallet:read|trading|READ|array
wallet.Order.ListTrades|GET POL/trades|200|AS AK DK|wallet:read|trading|READ|array
wallet.Position.ListPositions|GET WALLET/positions, POL/positions|200|AS AK DK|wallet:read|trading|READ|array
wallet.Market.ListMarkets|GET /api/v1/markets|200|nobody|-|-|READ|array
wallet.Market.GetMarket|GET /api/v1/markets/{condition_id}|200|nobody|-|-|READ|object
wallet.Market.GetBook|GET /api/v1/markets/{condition_id}/book|200|nobody|-|-|READ|object
auth.TokenKey.GetJsonWebKeySet|GET /.well-known/jwks.json|200|nobody|-|-|READ|bare message
"""
SIGNED_ROUTES = """
wallet.Subaccount.ListSubaccounts|GET /api/v1/subaccounts|200|AS AK DK|wallet:read|wallet|READ|S message
wallet.SignedRequest.SubmitCreateSubaccount|POST /api/v1/subaccounts/create|200|SK|-|wallet|WRITE|S message
wallet.SignedRequest.SubmitCreateWallet|POST /api/v1/portfolio/create|200|SK|-|wallet|WRITE|S message
wallet.SignedRequest.SubmitUpdateWallet|POST /api/v1/portfolio/update|200|SK|-|wallet|WRITE|S message
wallet.SignedRequest.SubmitTransferFunds|POST TRADING/transfer|200|SK|-|wallet|WRITE|S message
wallet.SignedRequest.SubmitPlaceOrder|POST TRADING/order/place|200|SK|-|trading|WRITE|S message
wallet.SignedRequest.SubmitCancelOrder|POST TRADING/order/cancel|200|SK|-|trading|REVOKE|S message
wallet.SignedRequest.SubmitCancelAllOrders|POST TRADING/order/cancel-all|200|SK|-|trading|REVOKE|S message
wallet.SignedRequest.SubmitAmendOrder|POST TRADING/order/amend|200|SK|-|trading|WRITE|S message
wallet.SignedRequest.GetRequest|GET REQUESTS/{request_id}|200|AS AK DK|wallet:read|signing|READ|S object
wallet.Withdrawal.ListWithdrawalAddresses|GET ADDRESSES|200|AS AK DK|wallet:read|wallet|READ|S message
wallet.SignedRequest.SubmitWithdraw|POST TRADING/withdraw|200|SK|-|wallet|WRITE|S message
wallet.SignedRequest.SubmitAddWithdrawalAddress|POST ADDRESSES/add|200|MK|-|wallet|WRITE|S message
wallet.SignedRequest.SubmitRemoveWithdrawalAddress|POST ADDRESSES/remove|200|MK SK|-|wallet|REVOKE|S message
auth.Time.GetTime|GET /api/v1/time|200|nobody|-|-|READ|S message
keys.SigningKey.SubmitMintSessionKey|POST AUTH/sessions|200|MK|-|signing|WRITE|S message
keys.SigningKey.SubmitRevokeSessionKey|POST AUTH/sessions/revoke|200|MK|-|signing|REVOKE|S message
keys.SigningKey.SubmitLogout|POST /api/v1/logout|200|SK|-|signing|REVOKE|S message
keys.SigningKey.SubmitAddMasterKey|POST AUTH/master-keys/add|200|MK|-|signing|WRITE|S message
keys.SigningKey.SubmitRemoveMasterKey|POST AUTH/master-keys/remove|200|MK|-|signing|REVOKE|S message
keys.SigningKey.SubmitListSessionKeys|POST AUTH/sessions/list|200|MK|-|signing|READ|S message
keys.SigningKey.ListSessionKeys|GET AUTH/sessions|200|AS AK DK|account:read|signing|READ|S message
keys.SigningKey.ListMasterKeys|GET AUTH/master-keys|200|AS AK DK|account:read|signing|READ|S message
keys.SigningKey.GetKeyRequest|GET AUTH/requests/{request_id}|200|AS AK DK|account:read|signing|READ|S object
keys.SessionSignature.ListSessionApiKeys|GET /api/v1/api-keys|200|SK|-|signing|READ|S message
keys.SessionSignature.CreateSessionApiKey|POST /api/v1/api-keys|200|SK|-|signing|WRITE|S message
keys.SessionSignature.DeleteSessionApiKey|POST API_KEYS/{api_key}/delete|200|SK|-|signing|REVOKE|S message
keys.SessionSignature.CreateDeviceKey|POST /api/v1/login|200|SK|-|signing|WRITE|S message
keys.SessionSignature.ListDeviceKeys|GET /api/v1/device-keys|200|SK|-|signing|READ|S message
keys.SessionSignature.DeleteDeviceKey|POST DEVICES/{device_key_id}/delete|200|SK|-|signing|REVOKE|S message
"""
# Without a route: RPC, exposure, callers, effect.
HIDDEN_METHODS = """
auth.Identity.ExchangeCredential|INTERNAL|edge keys wallet|READ
auth.Identity.ListPassportKeys|INTERNAL|edge keys wallet|READ
auth.Signer.ResolveSigner|INTERNAL|keys wallet|READ
auth.Operator.CreateProject|OPERATOR||WRITE
auth.Operator.SetProjectState|OPERATOR||WRITE
auth.Operator.ListProjects|OPERATOR||READ
keys.Resolution.ResolveApiKey|INTERNAL|auth|READ
keys.Resolution.ResolveDeviceKey|INTERNAL|auth|READ
keys.Resolution.NoteApiKeyUse|INTERNAL|auth|WRITE
keys.Resolution.NoteDeviceKeyUse|INTERNAL|auth|WRITE
keys.Resolution.GetSignerFacts|INTERNAL|auth|READ
keys.Resolution.FenceAccount|INTERNAL|auth|REVOKE
keys.Operator.IssueProjectApiKey|OPERATOR||WRITE
keys.Operator.SetApiKeyLimits|OPERATOR||WRITE
keys.Operator.GetApiKeyLimits|OPERATOR||READ
wallet.Operator.RecordDeposit|OPERATOR||WRITE
wallet.Operator.CreateMarket|OPERATOR||WRITE
wallet.Operator.CloseMarket|OPERATOR||WRITE
wallet.SignerFence.FenceSigners|INTERNAL|keys|REVOKE
wallet.SignerFence.RequireSignatures|INTERNAL|keys|REVOKE
wallet.Operator.ListOpenWithdrawals|OPERATOR||READ
wallet.Operator.SettleWithdrawal|OPERATOR||WRITE
"""


def rows(text: str) -> list[list[str]]:
    """The cells of a table above."""
    return [line.split("|") for line in text.strip().splitlines()]


ROUTES = rows(PROJECT_ROUTES) + rows(ACCOUNT_ROUTES) + rows(SIGNED_ROUTES)
HIDDEN = rows(HIDDEN_METHODS)


def all_services() -> list[ServiceDescriptor]:
    """Every service of the committed descriptor set, so that none can be forgotten here."""
    files = descriptor_pb2.FileDescriptorSet.FromString((GENERATED / "sealgate.binpb").read_bytes())
    found = []
    for file in files.file:
        if file.package.startswith("sealgate."):
            module = importlib.import_module(file.name.removesuffix(".proto").replace("/", ".") + "_pb2")
            found += list(module.DESCRIPTOR.services_by_name.values())
    return found


@pytest.fixture(scope="module")
def table() -> dict[str, Method]:
    """The table of all processes together, by short names such as `auth.Session.ListSessions`."""
    return {short(row): row for row in method_table(all_services()).values()}


def short(row: Method) -> str:
    """`/sealgate.auth.v1.SessionService/ListSessions` as the tables above write it."""
    service, _, method = row.full_name.removeprefix("/").partition("/")
    package, version, name = service.removeprefix("sealgate.").split(".")
    assert version == "v1"
    return f"{package}.{name.removesuffix('Service')}.{method}"


def expand(bindings: str) -> list[tuple[str, str]]:
    """Verb and template of each path in `GET ACCOUNT/session, POL/balance`."""
    verb, _, paths = bindings.partition(" ")
    words = {
        "ACCOUNT": ACCOUNT,
        "WALLET": WALLET,
        "POL": "/api/v1/wallet/pol/{wallet_id}",
        "API_KEYS": "/api/v1/api-keys",
        "REQUESTS": "/api/v1/requests",
        "TRADING": "/api/v1/trading",
        "ADDRESSES": "/api/v1/trading/withdrawal-addresses",
        "DEVICES": "/api/v1/device-keys",
        "AUTH": "/api/v1/auth",
    }
    found = []
    for path in paths.split(", "):
        first, slash, rest = path.partition("/")
        found.append((verb, words.get(first, first) + slash + rest))
    return found


def test_every_method_is_written_down_here(table: dict[str, Method]) -> None:
    """A new method needs a line in this file too, where somebody reads it against the contract."""
    assert sorted(table) == sorted(cells[0] for cells in ROUTES + HIDDEN)


@pytest.mark.parametrize("cells", ROUTES, ids=[cells[0] for cells in ROUTES])
def test_route_is_that_of_the_contract(table: dict[str, Method], cells: list[str]) -> None:
    """Path, verb, status, who, scope, module, effect and shape of the answer."""
    name, bindings, status, who, scope, module, effect, answer = cells
    row = table[name]
    assert [(item.verb, item.template) for item in row.bindings] == expand(bindings)
    assert row.success_status == int(status)
    assert row.accepts == POLICIES[who]
    assert (row.scope or "-", row.module or "-", row.effect.name) == (scope, module, effect)
    shape = "array" if row.list_field else "object" if row.object_field else "message"
    envelope, _, expected_shape = answer.rpartition(" ")
    assert shape == expected_shape
    assert row.envelope.name == {"": "PLATFORM", "B": "BROWSER", "S": "SIGNED", "bare": "BARE"}[envelope]
    assert row.exposure is (Exposure.OPEN if who == "nobody" else Exposure.PUBLIC)


@pytest.mark.parametrize("cells", ROUTES, ids=[cells[0] for cells in ROUTES])
def test_route_names_its_account_when_a_project_key_acts_on_one(
    table: dict[str, Method], cells: list[str]
) -> None:
    """An account in the path is the subject that auth checks, and there is no other subject."""
    row = table[cells[0]]
    in_path = "{account_id}" in row.bindings[0].template
    assert row.subject_account_field == ("account_id" if in_path else None)
    assert in_path <= (row.accepts == POLICIES["PK"])


@pytest.mark.parametrize("cells", ROUTES, ids=[cells[0] for cells in ROUTES])
def test_route_follows_from_its_verb(table: dict[str, Method], cells: list[str]) -> None:
    """Reads are GETs without a body, writes are not; a body is the whole message or none.

    A quote reads, and asks with the members of an order; what carries a signed payload is always posted.
    """
    row = table[cells[0]]
    for binding in row.bindings:
        has_members = cells[0] == "wallet.Order.QuoteOrder" or row.takes_payload
        is_read = row.effect is Effect.READ and not has_members
        assert (binding.verb == "GET") == is_read
        assert binding.has_body == (binding.verb in ("POST", "PUT"))
        for part in binding.template.split("/"):
            if part.startswith("{"):
                assert part.strip("{}") in row.descriptor.input_type.fields_by_name


@pytest.mark.parametrize("cells", ROUTES, ids=[cells[0] for cells in ROUTES])
def test_route_is_counted_by_the_limit_of_its_effect(table: dict[str, Method], cells: list[str]) -> None:
    """Reads by the reads' limit, orders and browser sessions by theirs, other writes by the writes'; what
    is open to all is counted elsewhere.
    """
    row = table[cells[0]]
    is_order = cells[0].startswith("wallet.Order.") or cells[0].endswith(("Order", "Orders"))
    writes = rules.RATE_CLASS_ORDER if is_order else rules.RATE_CLASS_WRITE
    if cells[0].startswith("auth.BrowserSession."):
        writes = rules.RATE_CLASS_BROWSER_SESSION
    by_effect = {Effect.READ: rules.RATE_CLASS_READ}.get(row.effect, writes)
    assert row.rate_class == (rules.RATE_CLASS_NONE if row.exposure is Exposure.OPEN else by_effect)


def test_only_making_a_browser_session_is_for_pages(table: dict[str, Method]) -> None:
    """Every other write of a page's API key needs what that one method makes."""
    assert [name for name, row in table.items() if row.for_pages] == [
        "auth.BrowserSession.CreateBrowserSession"
    ]


def test_no_two_routes_are_the_same(table: dict[str, Method]) -> None:
    """A verb and a path lead to one method."""
    routes = [
        (
            binding.verb,
            "/".join("{}" if part.startswith("{") else part for part in binding.template.split("/")),
        )
        for row in table.values()
        for binding in row.bindings
    ]
    assert len(routes) == len(set(routes))


@pytest.mark.parametrize("cells", HIDDEN, ids=[cells[0] for cells in HIDDEN])
def test_hidden_method_is_as_the_design_says(table: dict[str, Method], cells: list[str]) -> None:
    """Internal and operator methods: who calls them, what they do, and no way in from outside."""
    name, exposure, callers, effect = cells
    row = table[name]
    assert (row.exposure.name, row.effect.name) == (exposure, effect)
    assert list(row.callers) == callers.split()
    assert (row.accepts, row.bindings, row.rate_class) == (frozenset(), (), rules.RATE_CLASS_NONE)


def test_secret_field_is_redacted_when_a_message_is_printed() -> None:
    """Fields that hold a secret are marked in the proto, so that tools do not print them."""
    secret_fields = {
        f"{message.name}.{field.name}"
        for service in all_services()
        for message in service.file.message_types_by_name.values()
        for field in message.fields
        if field.GetOptions().debug_redact
    }
    assert secret_fields == {
        "ExchangeCredentialRequest.credential",
        "ExchangeCredentialRequest.session_token",
        "CreateBrowserSessionResponse.session_token",
        "IssuedSession.session_token",
        "IssuedApiKey.secret_key",
        "CreateSessionApiKeyResponse.secret_key",
        "CreateDeviceKeyResponse.secret_key",
    }


Change = Callable[[descriptor_pb2.MethodOptions], object]


def service_with(change: Change) -> ServiceDescriptor:
    """A service whose one method has a good PUBLIC row, apart from the change."""
    file = descriptor_pb2.FileDescriptorProto(name="strange.proto", package="strange.v1", syntax="proto3")
    question = file.message_type.add(name="AskRequest")
    question.field.add(name="account_id", number=1, type=9, label=1)
    answer = file.message_type.add(name="AskResponse")
    answer.field.add(name="account", number=1, type=9, label=1)
    answer.field.add(name="accounts", number=2, type=9, label=3)
    method = file.service.add(name="StrangeService").method.add(
        name="Ask", input_type=".strange.v1.AskRequest", output_type=".strange.v1.AskResponse"
    )
    rule = method.options.Extensions[rules.rule]
    rule.exposure = rules.EXPOSURE_PUBLIC
    rule.accepts.append(rules.CREDENTIAL_KIND_PROJECT_KEY)
    rule.effect = rules.EFFECT_READ
    rule.envelope = rules.ENVELOPE_PLATFORM
    rule.rate_class = rules.RATE_CLASS_READ
    rule.subject_account_field = "account_id"
    rule.object_field = "account"
    method.options.Extensions[annotations_pb2.http].get = "/api/v1/ask/{account_id}"
    change(method.options)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return pool.FindServiceByName("strange.v1.StrangeService")


def rule_with(**changes: object) -> Change:
    """A change of members of the rule; None clears one."""

    def change(options: descriptor_pb2.MethodOptions) -> None:
        rule = options.Extensions[rules.rule]
        for name, value in changes.items():
            rule.ClearField(name)  # type: ignore[arg-type]  # a field's name
            if isinstance(value, list):
                getattr(rule, name).extend(value)
            elif value is not None:
                setattr(rule, name, value)

    return change


def without_route(change: Change) -> Change:
    """A change of a method that has no REST path either."""

    def both(options: descriptor_pb2.MethodOptions) -> None:
        options.ClearExtension(annotations_pb2.http)
        change(options)

    return both


def test_good_row_is_taken() -> None:
    """What the refusals below change one thing of is right itself."""
    [row] = method_table([service_with(lambda options: None)]).values()
    assert row.full_name == "/strange.v1.StrangeService/Ask"
    assert (row.success_status, row.subject_account_field, row.object_field) == (200, "account_id", "account")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda options: options.ClearExtension(rules.rule), "has no access rule"),
        (lambda options: options.Clear(), "has no access rule"),
        (rule_with(exposure=None), "does not state its Exposure"),
        (rule_with(exposure=99), "does not state its Exposure"),
        (rule_with(effect=None), "does not state its Effect"),
        (rule_with(effect=99), "does not state its Effect"),
        (rule_with(accepts=[rules.CREDENTIAL_KIND_UNSPECIFIED]), "does not state its CredentialKind"),
        (rule_with(accepts=[99]), "does not state its CredentialKind"),
        (rule_with(envelope=99), "does not state its Envelope"),
        (rule_with(scope=99), "names a scope, module or error that does not exist"),
        (rule_with(module=99), "names a scope, module or error that does not exist"),
        (rule_with(refusals=[99]), "names a scope, module or error that does not exist"),
        (rule_with(accepts=[]), "accepts no credential"),
        (rule_with(rate_class=None), "has no rate class"),
        (rule_with(rate_class=rules.RATE_CLASS_NONE), "no limit counts it"),
        (rule_with(envelope=None), "has a REST path but no envelope"),
        (
            without_route(rule_with(exposure=rules.EXPOSURE_INTERNAL)),
            "accepts credentials that nothing asks for",
        ),
        (rule_with(exposure=rules.EXPOSURE_OPEN), "accepts credentials that nothing asks for"),
        (
            rule_with(exposure=rules.EXPOSURE_INTERNAL, accepts=[]),
            "has a REST path but is not for customers",
        ),
        (
            rule_with(exposure=rules.EXPOSURE_OPERATOR, accepts=[]),
            "has a REST path but is not for customers",
        ),
        (rule_with(callers=["edge"]), "names callers that cannot be told apart"),
        (rule_with(subject_account_field="account"), "names a subject field it does not have"),
        (rule_with(object_field="account_id"), "names an answer field it does not have"),
        (rule_with(object_field=None, list_field="nothing"), "names an answer field it does not have"),
        (rule_with(list_field="accounts"), "names two answer fields"),
        (rule_with(scope=rules.SCOPE_ACCOUNT_READ), "names a scope that some of its credentials never have"),
    ],
)
def test_row_is_refused_when_it_contradicts_itself(change: Change, complaint: str) -> None:
    """Each contradiction alone stops the table, and the text names the method."""
    with pytest.raises(MethodTableError) as raised:
        method_table([service_with(change)])
    assert str(raised.value).startswith("/strange.v1.StrangeService/Ask ")
    assert complaint in str(raised.value)


async def no_keys() -> dict[str, bytes]:
    """Nothing is ever asked."""
    return {}


class NoExchanger:
    """Nothing is ever exchanged."""

    async def exchange(self, credential: PresentedCredential, subject_account_id: str | None) -> bytes:
        """See `chassis.rpc.exchange.Exchanger`."""
        raise SealgateError(Code.INTERNAL)


@pytest.mark.parametrize("position", [0, 1])
def test_process_does_not_start_when_one_of_its_methods_has_no_rule(position: int) -> None:
    """A server with a method that says nothing about access cannot even be made."""
    config = ServiceConfig.model_validate(
        {
            "audience": "test",
            "database": {"dsn": "none"},
            "public": {"address": "127.0.0.1:0"},
            "internal": "unix:/nowhere.sock",
        }
    )
    descriptors = [service_with(lambda options: None)]
    descriptors.insert(position, service_with(lambda options: options.Clear()))
    clock = SystemClock()
    with pytest.raises(MethodTableError, match="has no access rule"):
        RpcServer(
            config,
            [Service(descriptor, object(), lambda servicer, server: None) for descriptor in descriptors],
            clock=clock,
            ids=SystemIds(clock),
            verifier=PassportVerifier("test", clock, no_keys),
            exchanger=NoExchanger(),
            closers=(),
        )
