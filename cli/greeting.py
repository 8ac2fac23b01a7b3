"""What `sealgate up` prints when the stack is ready: where it is, and commands that work as they stand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from cli.data_directory import DataDirectory
from cli.output import heading
from cli.stack_options import Seeded

_READ_SESSION: Final = (
    """python3 -c 'import json,sys; print(json.load(sys.stdin)["response"]["session_token"])'"""
)


def greeting(
    base_url: str, grpc: Mapping[str, str], seeded: Seeded, data: DataDirectory, seconds: float
) -> str:
    """The text; `seconds` is how long the start took."""
    addresses = "   ".join(f"{name} {address}" for name, address in grpc.items())
    lines = [
        "",
        heading(f"Sealgate is ready ({seconds:.1f} s)."),
        "",
        f"  base URL         {base_url}",
        f"  gRPC             {addresses}",
        f"  logs             {data.logs}",
    ]
    if seeded.project_id is None:
        lines += ["", "  Make a project with: sealgate project create --name NAME" + f" --data {data.root}"]
    else:
        lines += [
            f"  project          {seeded.project_id}",
            f"  account          {seeded.account_id}",
            f"  project API key  {seeded.project_api_key}",
            f"                   (of the demo seed only, kept in {data.demo_file})",
            f"  token to trade   {seeded.token_id}",
            "",
            heading("Paste these:"),
            "",
            *curl_commands(base_url, seeded),
        ]
    return "\n".join([*lines, "", "Ctrl-C stops everything."])


def curl_commands(base_url: str, seeded: Seeded) -> list[str]:
    """Commands for a POSIX shell, each of which works as it stands after those before it."""
    curl = r"curl -sw '\n'"
    account_url = f"{base_url}/api/v1/project/account/{seeded.account_id}"
    project = f"-H 'X-PROJECT-API-KEY: {seeded.project_api_key}'"
    bearer = '-H "Authorization: Bearer $TOKEN"'
    json_body = "-H 'Content-Type: application/json' -d"
    bot = """'{"name": "bot"}'"""
    ada = """'{"metadata": {"name": "Ada"}}'"""
    wallet_url = f"{base_url}/api/v1/wallet/pol/{seeded.wallet_id}"
    order = {
        "token_id": seeded.token_id,
        "side": "BUY",
        "type": "MARKET",
        "amount": "5",
        "units": "USDC",
    }
    return [
        "# start a session for the demo account and keep its token",
        f"TOKEN=$(curl -s -X POST {account_url}/session {project} | {_READ_SESSION})",
        "",
        "# the account's wallets, what the first one holds, and whose token it is",
        f"{curl} {base_url}/api/v1/wallets {bearer}",
        f"{curl} {wallet_url}/balance {bearer}",
        f"{curl} {base_url}/api/v1/account/session {bearer}",
        "",
        "# what there is to trade, an order for 5 USDC, and what it got",
        f"{curl} {base_url}/api/v1/markets",
        f"{curl} {wallet_url}/order {bearer} {json_body} '{json.dumps(order)}'",
        f"{curl} {wallet_url}/positions {bearer}",
        "",
        "# a further account, and an API key for the demo account",
        f"{curl} {base_url}/api/v1/project/account {project} {json_body} {ada}",
        f"{curl} {account_url}/api-key {project} {json_body} {bot}",
    ]
