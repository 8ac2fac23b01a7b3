"""Demo traffic that goes on through trouble and remembers what it was answered."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import httpx

from chassis.clock import SystemClock
from chassis.errors import Code, SealgateError
from cli.data_directory import DataDirectory
from cli.operator_client import OperatorClient
from tests.e2e.stack_process import StackProcess

# An answer may take the deadline of 5 s, and on a busy machine some more; one that takes this is a hang.
ANSWER_SECONDS = 20.0
RECOVERY_SECONDS = 60.0


@dataclass
class Traffic:
    """Three kinds of work, each over and over: reading, making accounts, depositing."""

    stack: StackProcess
    client: httpx.AsyncClient
    operator: OperatorClient
    wallet_id: str
    session_token: str
    answers: Counter[tuple[int, str]] = field(default_factory=Counter)
    resets: int = 0
    accounts: list[str] = field(default_factory=list)
    deposits_tried: int = 0
    deposits_answered: int = 0

    async def read_wallets(self) -> bool:
        """One read through edge, auth and wallet."""
        bearer = {"Authorization": f"Bearer {self.session_token}"}
        return await self._send("GET", "/api/v1/wallets", bearer) is not None

    async def make_account(self) -> bool:
        """One write through edge, auth and keys."""
        header = {"X-PROJECT-API-KEY": self.stack.ready["project_api_key"]}
        answer = await self._send("POST", "/api/v1/project/account", header)
        if answer is None:
            return False
        self.accounts.append(answer.json()["response"]["account_id"])
        return True

    async def deposit(self) -> bool:
        """One booking of 0.000001 in wallet."""
        self.deposits_tried += 1
        try:
            await self.operator.record_deposit(
                rail="e2e",
                reference=f"{self.wallet_id}-{self.deposits_tried}",
                wallet_id=self.wallet_id,
                asset="USDC",
                amount="0.000001",
            )
        except SealgateError as error:
            self.answers[0, error.code.value] += 1
            return False
        self.deposits_answered += 1
        return True

    async def _send(self, method: str, path: str, headers: dict[str, str]) -> httpx.Response | None:
        """The answer if it is a success; every other outcome is counted."""
        try:
            answer = await self.client.request(method, path, headers=headers)
        except httpx.TransportError:
            # Only the death of the edge itself may show as this.
            self.resets += 1
            return None
        code = "" if answer.is_success else answer.json()["error"]["code"]
        self.answers[answer.status_code, code] += 1
        return answer if answer.is_success else None

    async def until_all_work(self) -> None:
        """Returns when each kind of work succeeds again; fails when that takes too long."""
        try:
            async with asyncio.timeout(RECOVERY_SECONDS):
                for work in (self.read_wallets, self.make_account, self.deposit):
                    while not await work():
                        # Lets the other workers have their turn.
                        await asyncio.to_thread(len, "")
        except TimeoutError:
            said = "\n".join(self.stack.lines[-10:])
            raise AssertionError(f"no recovery: {self.answers}\n{said}") from None

    @contextlib.asynccontextmanager
    async def running(self, workers_count: int) -> AsyncIterator[None]:
        """Goes on in the background with so many workers of each kind."""
        stopping = asyncio.Event()

        async def work_on(number: int) -> None:
            work = (self.read_wallets, self.make_account, self.deposit)[number % 3]
            while not stopping.is_set():
                await work()

        workers = [asyncio.create_task(work_on(number)) for number in range(3 * workers_count)]
        try:
            yield
        finally:
            stopping.set()
            await asyncio.gather(*workers)

    async def check_nothing_is_lost(self) -> None:
        """Every answered account is there, every answered deposit is booked once, the books are even."""
        header = {"X-PROJECT-API-KEY": self.stack.ready["project_api_key"]}
        answer = await self.client.get("/api/v1/project/account", params={"limit": 5000}, headers=header)
        stored = {account["account_id"] for account in answer.json()["response"]}
        assert stored.issuperset(self.accounts)
        connection = await asyncpg.connect(self.stack.dsn("sealgate_wallet"))
        try:
            booked = await connection.fetchval(
                "SELECT posted FROM balance WHERE wallet_id = $1::uuid", self.wallet_id
            )
            uneven = await connection.fetch(
                "SELECT asset_id, sum(amount) FROM entry GROUP BY asset_id HAVING sum(amount) <> 0"
            )
        finally:
            await connection.close()
        assert uneven == []
        assert self.deposits_answered <= int(booked or 0) <= self.deposits_tried

    def unexpected(self, *expected: Code) -> Counter[tuple[int, str]]:
        """The answers that are neither successes nor of these codes."""
        names = {code.value for code in expected}
        return Counter(
            {answer: count for answer, count in self.answers.items() if answer[1] and answer[1] not in names}
        )


_projects = itertools.count(1)


@contextlib.asynccontextmanager
async def open_traffic(stack: StackProcess) -> AsyncIterator[Traffic]:
    """Traffic for an account and a wallet of its own."""
    clock = SystemClock()
    ready = stack.ready
    project = {"X-PROJECT-API-KEY": ready["project_api_key"]}
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with (
        httpx.AsyncClient(base_url=ready["base_url"], timeout=ANSWER_SECONDS, limits=limits) as client,
        OperatorClient(DataDirectory(Path(stack.data)), clock) as operator,
    ):
        account = (await client.post("/api/v1/project/account", headers=project)).json()["response"]
        path = f"/api/v1/project/account/{account['account_id']}/session"
        session = (await client.post(path, headers=project)).json()["response"]
        bearer = {"Authorization": f"Bearer {session['session_token']}"}
        wallets = (await client.get("/api/v1/wallets", headers=bearer)).json()["response"]
        yield Traffic(stack, client, operator, wallets[0]["wallet_id"], session["session_token"])
