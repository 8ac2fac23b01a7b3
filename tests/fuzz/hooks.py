"""What schemathesis is told about Sealgate: who asks, which ids there are, and what no answer may be.

Loaded by `st run` as SCHEMATHESIS_HOOKS; `tools/fuzz.py` says in the environment where the stack is
and which kind of credential to show.
"""

from __future__ import annotations

import os
import re
from typing import Any, Final
from zlib import crc32

import grpc
import httpx
import schemathesis

from chassis.methods import SIGNER_KINDS
from chassis.secrets import parse_secret_key, public_key_of, public_key_text
from sealgate.wallet.v1.operator_pb2 import RecordDepositRequest, RecordDepositResponse
from tests.described import DESCRIPTION

Case = schemathesis.Case[Any]

KIND: Final = os.environ["SEALGATE_FUZZ_KIND"]
PROJECT_KEY: Final = {"X-PROJECT-API-KEY": os.environ["SEALGATE_FUZZ_PROJECT_KEY"]}
PAGE: Final = "https://fuzz.example"
SIGNATURES: Final = {kind.name for kind in SIGNER_KINDS}
# So that what was made does not fill an account up to its limits, and not every call is a 409.
CALLS_PER_WORLD_COUNT: Final = 400
# Of an id that is to be had, one call in so many asks for one that is not there.
STRANGE_ONE_IN: Final = 5
# Where answers have ids, and under which name requests ask for them.
SOURCES: Final = {
    "wallet_id": "wallet_id",
    "session_id": "session_id",
    "public_key": "public_key",
    "order_id": "order_id",
    "condition_id": "condition_id",
    "left_token_id": "token_id",
    "right_token_id": "token_id",
}
GOOD_FORM: Final = re.compile(r"[0-9a-f-]{36}|pk_[A-Za-z0-9_-]{48}|0x[0-9a-f]{64}|[0-9]+")
ORIGIN: Final = re.compile(r"https?://[^/?#@]+")
MINTS: Final = "CreateBrowserSession"
ONCE: Final = re.compile(r"[A-Za-z0-9._:-]{1,50}")
OVER: Final = frozenset({"SESSION_INVALID", "SESSION_EXPIRED", "API_KEY_REVOKED", "ACCOUNT_SUSPENDED"})


class World:
    """An account with credentials of its own, and the ids that answers have told of."""

    def __init__(self) -> None:
        self._client = httpx.Client(base_url=os.environ["SEALGATE_FUZZ_BASE_URL"], timeout=10)
        channel = grpc.insecure_channel(os.environ["SEALGATE_FUZZ_OPERATOR"])
        self._record_deposit = channel.unary_unary(
            "/sealgate.wallet.v1.OperatorService/RecordDeposit",
            request_serializer=RecordDepositRequest.SerializeToString,
            response_deserializer=RecordDepositResponse.FromString,
        )
        seed = parse_secret_key(PROJECT_KEY["X-PROJECT-API-KEY"])
        assert seed is not None
        # The key that all is done with; a request to delete it is never helped to find it.
        self._own_key = public_key_text(public_key_of(seed))
        self.sent_count = 0
        self.renew()

    def renew(self) -> None:
        """Another account, credential and first wallet; what was known of the old one is forgotten."""
        self.calls_count = 0
        account = self._made("/api/v1/project/account")["account_id"]
        path = f"/api/v1/project/account/{account}"
        key = self._made(f"{path}/api-key", {"name": "fuzz"})["secret_key"]
        session = self._made(f"{path}/session")["session_token"]
        writes = ["account:read", "wallet:read", "wallet:write", "orders:write"]
        page_key = self._made(f"{path}/api-key", {"origins": [PAGE], "scopes": writes})["secret_key"]
        page = {"X-API-KEY": page_key, "Origin": PAGE}
        minted = self._client.post("/api/v1/sessions", headers=page)
        minted.raise_for_status()
        self.known: dict[str, list[str]] = {"account_id": [account]}
        ways: dict[str, list[dict[str, str]]] = {
            "project": [PROJECT_KEY],
            "session": [{"Authorization": f"Bearer {session}"}],
            "key": [{"X-API-KEY": key}, {"Authorization": f"Bearer {key}"}],
            "page": [page | {"X-Session-Token": minted.json()["data"]["sessionToken"]}],
            "nobody": [{}],
        }
        self._credentials = ways[KIND]
        wallets = self._client.get("/api/v1/wallets", headers={"X-API-KEY": key}).json()["response"]
        self._deposit(wallets[0]["wallet_id"])
        self.learn(wallets)
        self.learn(self._client.get("/api/v1/markets").json())

    def credential(self) -> dict[str, str]:
        """The headers that say who asks; each way there is in turn."""
        return self._credentials[self.calls_count % len(self._credentials)]

    def _made(self, path: str, body: object = None) -> Any:  # noqa: ANN401
        answer = self._client.post(path, headers=PROJECT_KEY, json=body or {})
        answer.raise_for_status()
        return answer.json()["response"]

    def _deposit(self, wallet_id: str) -> None:
        """Money to place orders with, as the operator books it."""
        request = RecordDepositRequest(
            rail="embedded",
            external_ref=f"fuzz-{wallet_id}",
            wallet_id=wallet_id,
            asset="USDC",
            amount="100000",
        )
        self._record_deposit(request, timeout=10)

    def learn(self, part: object) -> None:
        """Remembers the ids in an answer."""
        if isinstance(part, dict):
            for name, value in part.items():
                if name in SOURCES and isinstance(value, str) and value not in ("", self._own_key):
                    known = self.known.setdefault(SOURCES[name], [])
                    if value not in known:
                        known[:] = [*known[-7:], value]
                self.learn(value)
        elif isinstance(part, list):
            for item in part:
                self.learn(item)

    def with_known_ids(self, values: object) -> None:
        """Puts ids that are there in the place of most that are only well-formed."""
        if not isinstance(values, dict):
            return
        for name, known in self.known.items():
            value = values.get(name)
            if isinstance(value, str) and GOOD_FORM.fullmatch(value):
                choice = crc32(value.encode())
                if choice % STRANGE_ONE_IN:
                    values[name] = known[choice % len(known)]


WORLD: Final = World()


def make_unique(values: Any, name: str) -> None:  # noqa: ANN401
    """Makes half of what may be used once another each time, that not every call is refused for it."""
    value = values.get(name) if hasattr(values, "get") else None
    if isinstance(value, str) and ONCE.fullmatch(value) and WORLD.sent_count % 2:
        values[name] = f"{value}-{WORLD.sent_count}"


@schemathesis.auth(refresh_interval=None)
class Credential:
    """Shows the world's credential of this run's kind."""

    def get(self, case: Case, context: schemathesis.AuthContext) -> dict[str, str]:
        return WORLD.credential()

    def set(self, case: Case, data: dict[str, str], context: schemathesis.AuthContext) -> None:
        for name, value in data.items():
            # The method that asks for an origin by its name is also asked with none, and with wrong ones.
            if name != "Origin" or case.operation.definition.raw["operationId"] != MINTS:
                case.headers[name] = value


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: Case, kwargs: dict[str, Any]) -> None:
    """Aims at what is there."""
    WORLD.calls_count += 1
    WORLD.sent_count += 1
    if WORLD.calls_count >= CALLS_PER_WORLD_COUNT:
        WORLD.renew()
    WORLD.with_known_ids(case.path_parameters)
    WORLD.with_known_ids(case.body)
    if ORIGIN.fullmatch(case.headers.get("Origin", "")):
        case.headers["Origin"] = PAGE
    make_unique(case.headers, "Idempotency-Key")
    make_unique(case.body, "client_order_id")


@schemathesis.hook
def after_call(context: schemathesis.HookContext, case: Case, response: schemathesis.Response) -> None:
    """Learns from the answer; makes a new world when the credential has ended."""
    try:
        answer = response.json()
    except ValueError:
        return
    if response.status_code < 400:
        WORLD.learn(answer)
    elif answer.get("error", {}).get("code") in OVER:
        WORLD.renew()


@schemathesis.check
def answer_is_as_described(
    context: schemathesis.CheckContext, response: schemathesis.Response, case: Case
) -> None:
    """Nothing that the description does not tell of, never a 500, and nothing done that nobody signed."""
    assert response.status_code != 500, "Something broke inside"
    kinds = case.operation.definition.raw.get("x-sealgate-credentials", ())
    assert not SIGNATURES & {*kinds} or response.status_code >= 400, "Nobody signed this"
    if case.method.lower() not in DESCRIPTION.document["paths"][case.operation.path]:
        return  # checked by schemathesis itself
    answer = httpx.Response(
        response.status_code,
        headers=[(name, value) for name, values in response.headers.items() for value in values],
        content=response.content,
    )
    DESCRIPTION.refuse_undescribed(case.method, case.operation.path, answer)
