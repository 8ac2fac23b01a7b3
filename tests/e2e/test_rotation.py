"""Keys are replaced on a running stack, and nobody who uses it notices."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections import Counter
from typing import Any, Final

import httpx

from tests.e2e.stack_process import StackProcess
from tests.e2e.traffic import ANSWER_SECONDS, open_traffic

ROTATED_WITHIN_SECONDS: Final = 120.0
OVERLAP_SECONDS: Final = 3600


def kid_of(token: str) -> str:
    header = token.partition(".")[0]
    return str(json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))["kid"])


class Customer:
    """A back-end with an account of its own, which goes on calling whatever is done to its keys."""

    def __init__(self, client: httpx.AsyncClient, project_api_key: str) -> None:
        self._client = client
        self._project = {"X-PROJECT-API-KEY": project_api_key}
        self._account = ""
        self.key: dict[str, Any] = {}
        self.session: dict[str, Any] = {}
        self.answers: Counter[str] = Counter()
        self.stopping = False

    async def _write(self, path: str, body: dict[str, object] | None = None) -> Any:  # noqa: ANN401
        answer = await self._client.post(path, json=body or {}, headers=self._project)
        self.answers["" if answer.is_success else answer.text] += 1
        return answer.json()["response"]

    async def move_in(self) -> None:
        """Makes the account, a key and a session."""
        account = await self._write("/api/v1/project/account")
        self._account = f"/api/v1/project/account/{account['account_id']}"
        self.key = await self._write(f"{self._account}/api-key")
        self.session = await self._write(f"{self._account}/session")

    async def rotate_key(self) -> None:
        """Has the key replaced and shows the new one from then on."""
        path = f"{self._account}/api-key/{self.key['public_key']}/rotate"
        self.key = await self._write(path, {"overlap_seconds": OVERLAP_SECONDS})

    async def refresh_until_signed_by(self, kid: str) -> None:
        """Goes on refreshing the session until a key of that name signs its token."""
        while kid_of(self.session["session_token"]) != kid:
            path = f"{self._account}/session/{self.session['session_id']}/refresh"
            self.session = await self._write(path)

    async def read_on(self) -> None:
        """Reads with the key, without a pause."""
        while not self.stopping:
            header = {"X-API-KEY": self.key["secret_key"]}
            answer = await self._client.get("/api/v1/wallets", headers=header)
            self.answers["" if answer.is_success else answer.text] += 1


async def test_no_request_is_refused_when_all_keys_are_rotated_on_a_running_stack(
    shared_stack: StackProcess,
) -> None:
    """`sealgate key rotate-signing all` and API keys with an overlap, amid traffic; no process restarts."""
    pids = shared_stack.ready["pids"]
    ready = shared_stack.ready
    async with (
        open_traffic(shared_stack) as traffic,
        httpx.AsyncClient(base_url=ready["base_url"], timeout=ANSWER_SECONDS) as client,
    ):
        customer = Customer(client, ready["project_api_key"])
        await customer.move_in()
        async with traffic.running(workers_count=1), asyncio.TaskGroup() as readers:
            for _ in range(2):
                readers.create_task(customer.read_on())
            command = ("key", "rotate-signing", "all", "--lead-seconds", "10")
            ended = await asyncio.to_thread(shared_stack.command, *command)
            assert (ended.returncode, ended.stderr) == (0, "")
            [new] = re.findall(r"^session +([0-9a-f]{16}) signs from", ended.stdout, re.MULTILINE)
            await customer.rotate_key()
            async with asyncio.timeout(ROTATED_WITHIN_SECONDS):
                await customer.refresh_until_signed_by(new)
            await customer.rotate_key()
            await traffic.until_all_work()
            customer.stopping = True
        published = (await client.get("/.well-known/jwks.json")).json()["keys"]
    assert new in {key["kid"] for key in published}
    assert set(customer.answers) == {""}
    assert (traffic.unexpected(), traffic.resets) == (Counter(), 0)
    assert shared_stack.ready["pids"] == pids
