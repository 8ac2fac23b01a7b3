"""A service is killed when its work is committed and its answer is not yet given."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import httpx
import pytest

from tests.e2e.stack_process import StackProcess

RECOVERY_SECONDS = 60.0
# Any constant: the commit of a record waits for this advisory lock while a test has it.
COMMIT_LOCK = 0x1D3A

# Deferred, so that it runs as the last thing before the commit. The pause must not run into the
# service's own bound on waiting for locks.
HOLD_COMMITS = f"""
CREATE FUNCTION wait_for_the_test() RETURNS trigger LANGUAGE plpgsql SET lock_timeout = 0 AS $$
BEGIN
    PERFORM pg_advisory_xact_lock({COMMIT_LOCK});
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER wait_for_the_test AFTER INSERT ON idempotency
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait_for_the_test()
"""
RELEASE_COMMITS = "DROP TRIGGER wait_for_the_test ON idempotency; DROP FUNCTION wait_for_the_test"
WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = $1 AND NOT granted"
KEPT = "SELECT count(*) FROM idempotency WHERE idempotency_key = $1"

# By service: what is made, and the table in which one row more is one effect more.
EFFECTS = {
    "auth": ("/api/v1/project/account", "account"),
    "keys": ("/api/v1/project/account/{account_id}/api-key", "api_key"),
    "wallet": ("/api/v1/wallet", "wallet"),
}


class Commits:
    """A look at, and a hold on, the commits of records in one service's database."""

    def __init__(self, holder: asyncpg.Connection[asyncpg.Record]) -> None:
        self._holder = holder

    async def hold(self) -> None:
        """From now on they wait."""
        await self._holder.execute("SELECT pg_advisory_lock($1)", COMMIT_LOCK)

    async def until_one_waits(self) -> None:
        """Returns when all is done but the commit itself."""
        await self._until(WAITING, COMMIT_LOCK)

    async def let_go(self) -> None:
        """The one that waits goes on."""
        await self._holder.execute("SELECT pg_advisory_unlock($1)", COMMIT_LOCK)

    async def until_kept(self, key: str) -> None:
        """Returns when a record is there for everybody to see."""
        await self._until(KEPT, key)

    async def count(self, table: str) -> int:
        """How many rows a table has."""
        return int(await self._holder.fetchval(f"SELECT count(*) FROM {table}"))  # noqa: S608

    async def _until(self, statement: str, argument: object) -> None:
        await until_true(self._holder, statement, argument)


async def until_true(
    connection: asyncpg.Connection[asyncpg.Record], statement: str, argument: object
) -> None:
    """Returns when the server answers a question with something other than nothing."""
    async with asyncio.timeout(RECOVERY_SECONDS):
        while not await connection.fetchval(statement, argument):
            pass


@asynccontextmanager
async def commits_of(stack: StackProcess, service: str) -> AsyncIterator[Commits]:
    connection = await asyncpg.connect(stack.dsn(f"sealgate_{service}"))
    try:
        await connection.execute(HOLD_COMMITS)
        yield Commits(connection)
    finally:
        await connection.execute("SELECT pg_advisory_unlock_all()")
        await connection.execute(RELEASE_COMMITS)
        await connection.close()


async def good(client: httpx.AsyncClient, path: str, headers: dict[str, str]) -> httpx.Response:
    """The answer to a POST once it is a success; whatever is refused is tried again."""
    async with asyncio.timeout(RECOVERY_SECONDS):
        answer = await client.post(path, headers=headers)
        while not answer.is_success:
            assert answer.status_code in (503, 504), answer.text
            answer = await client.post(path, headers=headers)
    return answer


@pytest.mark.parametrize("service", EFFECTS)
async def test_repeat_is_given_the_answer_that_a_kill_kept_back(
    shared_stack: StackProcess, service: str
) -> None:
    """The work was committed with its answer: the repeat does nothing and says what was done."""
    stack = shared_stack
    path, table = EFFECTS[service]
    by_project = {"X-PROJECT-API-KEY": str(stack.ready["project_api_key"])}
    async with httpx.AsyncClient(base_url=stack.base_url, timeout=RECOVERY_SECONDS) as client:
        account = (await good(client, "/api/v1/project/account", by_project)).json()["response"]
        accounts_path = f"/api/v1/project/account/{account['account_id']}"
        session = (await good(client, f"{accounts_path}/session", by_project)).json()["response"]
        bearer = {"Authorization": f"Bearer {session['session_token']}"}
        path = path.format(account_id=account["account_id"])
        headers = (bearer if service == "wallet" else by_project) | {"Idempotency-Key": account["account_id"]}
        async with commits_of(stack, service) as commits:
            before = await commits.count(table)
            await commits.hold()
            request = asyncio.create_task(client.post(path, headers=headers))
            await commits.until_one_waits()
            # From here on the process neither hears of the commit nor answers.
            os.kill(stack.pid(service), signal.SIGSTOP)
            await commits.let_go()
            await commits.until_kept(account["account_id"])
            await asyncio.to_thread(stack.kill_and_wait_for_restart, service)
            lost = await request
            assert lost.status_code in (503, 504), lost.text
            answer = await good(client, path, headers)
            assert answer.headers["idempotent-replayed"] == "true"
            assert await commits.count(table) == before + 1
            again = await good(client, path, headers)
            assert (again.status_code, again.content) == (201, answer.content)
            assert await commits.count(table) == before + 1
