"""Signed requests while processes die: each runs once, and none after its key was revoked."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg
import httpx
import pytest

from tests.e2e.signed_account import PLACE, REVOKE, SignedAccount, open_signed_account
from tests.e2e.stack_process import StackProcess
from tests.e2e.test_lost_answer import RECOVERY_SECONDS, WAITING, until_true

CONNECTIONS_COUNT: Final = 20
SENDERS_COUNT: Final = 50
# What may be answered while a part is away.
AWAY: Final = frozenset({503, 504})
COMMIT_LOCK: Final = 0x51D3

HOLD_COMMITS: Final = f"""
CREATE FUNCTION wait_for_signed() RETURNS trigger LANGUAGE plpgsql SET lock_timeout = 0 AS $$
BEGIN
    PERFORM pg_advisory_xact_lock({COMMIT_LOCK});
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER wait_for_signed AFTER INSERT ON request_default
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait_for_signed()
"""
RELEASE_COMMITS: Final = "DROP FUNCTION wait_for_signed CASCADE"


@asynccontextmanager
async def signed_account(stack: StackProcess) -> AsyncIterator[SignedAccount]:
    """An account of the test's own, with connections enough."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(base_url=stack.base_url, timeout=RECOVERY_SECONDS, limits=limits) as client:
        yield await open_signed_account(stack, client)


class Flood:
    """New orders of the session key, over and over on many connections, until it is told to stop."""

    def __init__(self, account: SignedAccount) -> None:
        self._account = account
        self._stopping = False
        self.answers: Counter[tuple[int, str]] = Counter()

    async def _send_on(self) -> None:
        while not self._stopping:
            try:
                answer = await self._account.send(PLACE[0], self._account.order())
            except httpx.TransportError:
                self.answers[0, ""] += 1
                continue
            document = answer.json()
            code = document["error"]["code"] if "error" in document else document["status"]
            self.answers[answer.status_code, code] += 1

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Goes on in the background."""
        senders = [asyncio.create_task(self._send_on()) for _ in range(CONNECTIONS_COUNT)]
        try:
            yield
        finally:
            self._stopping = True
            await asyncio.gather(*senders)

    async def until(self, status: int, code: str, further_count: int = 1) -> None:
        """Returns when so many further answers are this one."""
        enough = self.answers[status, code] + further_count
        async with asyncio.timeout(RECOVERY_SECONDS):
            while self.answers[status, code] < enough:
                await asyncio.to_thread(len, "")


async def revoke_until_done(account: SignedAccount) -> Counter[int]:
    """The revocation, the very same bytes again until it is answered 200; what was answered before that.

    Past the window of its id another one is signed: the first may have been stopped by its age.
    """
    refusals: Counter[int] = Counter()
    signed = account.revocation()
    async with asyncio.timeout(RECOVERY_SECONDS):
        while True:
            answer = await account.send(REVOKE[0], signed)
            if answer.status_code == 200:
                status = answer.json()["status"]
                assert status in ("request_completed", "duplicate_request_id", "session_rejected_invalid")
                return refusals
            refusals[answer.status_code] += 1
            if answer.status_code == 400:
                assert answer.json()["error"]["code"] == "REQUEST_TIMESTAMP_SKEW"
                signed = account.revocation()
            else:
                assert answer.status_code in AWAY, answer.text


async def test_nothing_of_a_key_commits_once_its_revocation_is_answered(shared_stack: StackProcess) -> None:
    """Orders from many connections, wallet killed and Postgres restarted while the key is revoked."""
    async with signed_account(shared_stack) as account:
        flood = Flood(account)
        async with flood.running():
            await flood.until(200, "request_completed", further_count=20)
            os.kill(shared_stack.pid("wallet"), signal.SIGSTOP)
            # Keys cannot tell wallet: it says so, and has revoked for its own part.
            heard = await account.send(REVOKE[0], account.revocation())
            assert heard.status_code in AWAY, heard.text
            await asyncio.to_thread(shared_stack.kill_and_wait_for_restart, "wallet")
            revoking = asyncio.create_task(revoke_until_done(account))
            await asyncio.to_thread(shared_stack.kill_and_wait_for_restart, "postgres")
            await revoking
            at_the_answer = await account.effects_count()
            await flood.until(401, "SESSION_INVALID", further_count=100)
            assert await account.effects_count() == at_the_answer
            # A new process knows no more of the key than the database does.
            await asyncio.to_thread(shared_stack.kill_and_wait_for_restart, "wallet")
            await flood.until(401, "SESSION_INVALID", further_count=100)
        assert await account.effects_count() == at_the_answer
        assert flood.answers[200, "request_completed"] <= at_the_answer
        unexpected = {
            answer
            for answer in flood.answers
            if answer[0] not in AWAY and answer not in {(200, "request_completed"), (401, "SESSION_INVALID")}
        }
        assert unexpected == set()


async def test_revocation_under_load_is_in_force_with_its_answer(shared_stack: StackProcess) -> None:
    """All is well and busy: with the answer the last effect has been committed."""
    async with signed_account(shared_stack) as account:
        flood = Flood(account)
        async with flood.running():
            await flood.until(200, "request_completed", further_count=20)
            assert await revoke_until_done(account) == Counter()
            at_the_answer = await account.effects_count()
            await flood.until(401, "SESSION_INVALID", further_count=100)
        assert await account.effects_count() == at_the_answer


async def test_order_sent_from_fifty_connections_is_placed_once(shared_stack: StackProcess) -> None:
    """The same bytes fifty times at once: one order, and everybody learns which."""
    async with signed_account(shared_stack) as account:
        signed = account.resting_order()
        answers = await asyncio.gather(*(account.send(PLACE[0], signed) for _ in range(SENDERS_COUNT)))
        documents = [answer.json() for answer in answers if answer.status_code == 200]
        assert {answer.status_code for answer in answers} <= {200, *AWAY}
        statuses = Counter(document["status"] for document in documents)
        assert statuses["request_completed"] <= 1
        assert set(statuses) <= {"request_completed", "duplicate_request_id"}
        last = (await account.send(PLACE[0], signed)).json()
        assert (last["status"], last["same_payload"]) == ("duplicate_request_id", True)
        order_ids = {
            (document["order"] or document["original"]["order"])["order_id"] for document in documents
        }
        assert order_ids == {last["original"]["order"]["order_id"]}
        assert await account.orders_count() == 1


@pytest.mark.parametrize("look", ["repeat", "look-up"])
async def test_outcome_that_a_kill_kept_back_is_learned(shared_stack: StackProcess, look: str) -> None:
    """Wallet dies between commit and answer: the same bytes, or a look-up of the id, tell the outcome."""
    stack = shared_stack
    async with signed_account(stack) as account:
        connection = await asyncpg.connect(stack.dsn("sealgate_wallet"))
        try:
            await connection.execute(HOLD_COMMITS.replace("request_default", await newest_part(connection)))
            await connection.execute("SELECT pg_advisory_lock($1)", COMMIT_LOCK)
            signed = account.resting_order()
            request = asyncio.create_task(account.send(PLACE[0], signed))
            await until_true(connection, WAITING, COMMIT_LOCK)
            os.kill(stack.pid("wallet"), signal.SIGSTOP)
            await connection.execute("SELECT pg_advisory_unlock($1)", COMMIT_LOCK)
            kept = "SELECT count(*) FROM request WHERE public_key = $1"
            await until_true(connection, kept, account.session.public_key)
        finally:
            await connection.execute("SELECT pg_advisory_unlock_all()")
            await connection.execute(RELEASE_COMMITS)
            await connection.close()
        await asyncio.to_thread(stack.kill_and_wait_for_restart, "wallet")
        lost = await request
        assert lost.status_code in AWAY, lost.text
        original = await (
            told_again(account, signed.json) if look == "repeat" else looked_up(account, signed.payload)
        )
        assert (original["success"], original["status"]) == (True, "request_completed")
        assert original["order"]["wallet_id"] == account.wallet_id
        assert await account.orders_count() == 1


async def newest_part(connection: asyncpg.Connection[asyncpg.Record]) -> str:
    """The part of the table that requests of this moment go to."""
    name: str = await connection.fetchval(
        "SELECT tableoid::regclass::text FROM request ORDER BY request_id DESC LIMIT 1"
    )
    return name


async def told_again(account: SignedAccount, sent: dict[str, str]) -> dict[str, Any]:
    """The original that the same bytes are answered with."""
    async with asyncio.timeout(RECOVERY_SECONDS):
        answer = await account.client.post(PLACE[0], json=sent)
        while answer.status_code in AWAY:
            answer = await account.client.post(PLACE[0], json=sent)
    document = answer.json()
    assert (document["status"], document["same_payload"]) == ("duplicate_request_id", True), answer.text
    original: dict[str, Any] = document["original"]
    return original


async def looked_up(account: SignedAccount, payload: bytes) -> dict[str, Any]:
    """What the id's look-up tells."""
    request_id = payload[8:24].hex()
    text = "-".join((request_id[:8], request_id[8:12], request_id[12:16], request_id[16:20], request_id[20:]))
    async with asyncio.timeout(RECOVERY_SECONDS):
        while True:
            answer = await account.client.get(
                f"/api/v1/requests/{text}", headers={"X-API-KEY": account.api_key}
            )
            if answer.status_code == 200:
                found: dict[str, Any] = answer.json()
                return found
            assert answer.status_code in AWAY, answer.text
