"""The operator's methods of a local stack, reached over the sockets in its data directory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from chassis.clock import Clock
from chassis.limits import LIST_ACCOUNTS_MAX_COUNT, WALLET_LIST_MAX_COUNT
from chassis.rpc.client import call, open_channel
from cli.data_directory import DataDirectory
from sealgate.auth.v1 import operator_pb2 as auth_pb2
from sealgate.auth.v1 import operator_pb2_grpc as auth_grpc
from sealgate.auth.v1.project_pb2 import Project
from sealgate.common.v1.method_rule_pb2 import RateClass
from sealgate.common.v1.passport_pb2 import CredentialLimit, ProjectStatus
from sealgate.keys.v1 import operator_pb2 as keys_pb2
from sealgate.keys.v1 import operator_pb2_grpc as keys_grpc
from sealgate.wallet.v1 import market_pb2 as markets_pb2
from sealgate.wallet.v1 import market_pb2_grpc as market_grpc
from sealgate.wallet.v1 import operator_pb2 as wallet_pb2
from sealgate.wallet.v1 import operator_pb2_grpc as wallet_grpc
from sealgate.wallet.v1 import withdrawal_pb2


class OperatorClient:
    """Calls of the operator; every method raises the SealgateError that the service answers."""

    def __init__(self, data: DataDirectory, clock: Clock) -> None:
        self._data = data
        self._clock = clock
        self._channels = AsyncExitStack()

    async def __aenter__(self) -> Self:
        opened = {
            service: await self._channels.enter_async_context(open_channel(self._data.socket_target(service)))
            for service in ("auth", "keys", "wallet")
        }
        self._auth = auth_grpc.OperatorServiceStub(opened["auth"])
        self._keys = keys_grpc.OperatorServiceStub(opened["keys"])
        self._wallet = wallet_grpc.OperatorServiceStub(opened["wallet"])
        self._markets = market_grpc.MarketServiceStub(opened["wallet"])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._channels.aclose()

    async def create_project(self, name: str) -> str:
        """Makes a project; answers its id."""
        request = auth_pb2.CreateProjectRequest(name=name)
        response = await call(self._auth.CreateProject, request, self._clock)
        return response.project.project_id

    async def issue_project_key(self, project_id: str, name: str) -> str:
        """Makes a key for a project; answers its secret, which nobody can read again."""
        request = keys_pb2.IssueProjectApiKeyRequest(project_id=project_id, name=name)
        response = await call(self._keys.IssueProjectApiKey, request, self._clock)
        return response.api_key.secret_key

    async def set_key_limits(self, public_key: str, counts: Mapping[str, int]) -> None:
        """Gives an API key limits in the place of all that it had: calls a minute by the class's name."""
        limits = [
            CredentialLimit(rate_class=RateClass.Value(f"RATE_CLASS_{name.upper()}"), per_minute_count=count)
            for name, count in counts.items()
        ]
        request = keys_pb2.SetApiKeyLimitsRequest(public_key=public_key, limits=limits)
        await call(self._keys.SetApiKeyLimits, request, self._clock)

    async def key_limits(self, public_key: str) -> dict[str, int]:
        """The limits of its own that an API key has: calls a minute by the class's name."""
        request = keys_pb2.GetApiKeyLimitsRequest(public_key=public_key)
        response = await call(self._keys.GetApiKeyLimits, request, self._clock)
        return {
            RateClass.Name(one.rate_class).removeprefix("RATE_CLASS_").lower(): one.per_minute_count
            for one in response.limits
        }

    async def set_project_state(self, project_id: str, status: str | None, modules: Sequence[str]) -> Project:
        """Changes a project's status, as `SUSPENDED`, and modules; None and no module keep them."""
        request = auth_pb2.SetProjectStateRequest(
            project_id=project_id,
            status=ProjectStatus.Value(f"PROJECT_STATUS_{status or 'UNSPECIFIED'}"),
            modules=modules,
        )
        return (await call(self._auth.SetProjectState, request, self._clock)).project

    async def list_projects(self) -> list[Project]:
        """All projects, oldest first."""
        found: list[Project] = []
        while True:
            request = auth_pb2.ListProjectsRequest(limit=LIST_ACCOUNTS_MAX_COUNT, offset=len(found))
            page = (await call(self._auth.ListProjects, request, self._clock)).projects
            found.extend(page)
            if len(page) < LIST_ACCOUNTS_MAX_COUNT:
                return found

    async def record_deposit(
        self, *, rail: str, reference: str, wallet_id: str, asset: str, amount: str
    ) -> wallet_pb2.RecordDepositResponse:
        """Credits a wallet, once for every reference of a rail."""
        request = wallet_pb2.RecordDepositRequest(
            rail=rail, external_ref=reference, wallet_id=wallet_id, asset=asset, amount=amount
        )
        return await call(self._wallet.RecordDeposit, request, self._clock)

    async def list_open_withdrawals(self) -> list[withdrawal_pb2.Withdrawal]:
        """Withdrawals that are on their way, oldest first, at most 1000."""
        request = wallet_pb2.ListOpenWithdrawalsRequest()
        return list((await call(self._wallet.ListOpenWithdrawals, request, self._clock)).withdrawals)

    async def settle_withdrawal(
        self, request: wallet_pb2.SettleWithdrawalRequest
    ) -> withdrawal_pb2.Withdrawal:
        """Moves a withdrawal on; answers it as it stands then."""
        return (await call(self._wallet.SettleWithdrawal, request, self._clock)).withdrawal

    async def create_market(self, request: wallet_pb2.CreateMarketRequest) -> markets_pb2.ListedMarket:
        """Makes a market, in a new event or the one that the request names."""
        response = await call(self._wallet.CreateMarket, request, self._clock)
        return response.market

    async def close_market(self, condition_id: str) -> wallet_pb2.CloseMarketResponse:
        """Ends trading in a market; answers it and how many orders that cancelled."""
        request = wallet_pb2.CloseMarketRequest(condition_id=condition_id)
        return await call(self._wallet.CloseMarket, request, self._clock)

    async def list_markets(self) -> list[markets_pb2.ListedMarket]:
        """All markets, newest first; one made meanwhile may be missing."""
        found: dict[str, markets_pb2.ListedMarket] = {}
        offset = 0
        while True:
            request = markets_pb2.ListMarketsRequest(limit=WALLET_LIST_MAX_COUNT, offset=offset)
            page = (await call(self._markets.ListMarkets, request, self._clock)).markets
            # New ones push old ones back, so that a page may begin with what the last one ended with.
            found.update((market.condition_id, market) for market in page)
            if len(page) < WALLET_LIST_MAX_COUNT:
                return list(found.values())
            offset += len(page)
