"""What `sealgate up` prints when the stack is ready: where it is, and commands that work as they stand."""

from __future__ import annotations

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
    if seeded.project_api_key is None or seeded.account_id is None:
        lines += ["", "  Make a project with: sealgate project create --name NAME" + _data_argument(data)]
    else:
        lines += [
            f"  project          {seeded.project_id}",
            f"  account          {seeded.account_id}",
            f"  project API key  {seeded.project_api_key}",
            f"                   (of the demo seed only, kept in {data.demo_file})",
            "",
            heading("Paste these:"),
            "",
            *curl_commands(base_url, seeded.project_api_key, seeded.account_id),
        ]
    return "\n".join([*lines, "", "Ctrl-C stops everything."])


def curl_commands(base_url: str, project_api_key: str, account_id: str) -> list[str]:
    """Commands for a POSIX shell, each of which works as it stands, in this order."""
    account_url = f"{base_url}/api/v1/project/account/{account_id}"
    return [
        "# start a session for the demo account and keep its token",
        f"TOKEN=$(curl -s -X POST {account_url}/session \\",
        f"  -H 'X-PROJECT-API-KEY: {project_api_key}' \\",
        f"  | {_READ_SESSION})",
        "",
        "# the account's wallets, and what the first one holds",
        f'curl -s {base_url}/api/v1/wallets -H "Authorization: Bearer $TOKEN"',
        f'WALLET=$(curl -s {base_url}/api/v1/wallets -H "Authorization: Bearer $TOKEN" \\',
        """  | python3 -c 'import json,sys; print(json.load(sys.stdin)["response"][0]["wallet_id"])')""",
        f'curl -s {base_url}/api/v1/wallet/pol/$WALLET/balance -H "Authorization: Bearer $TOKEN"',
        "",
        "# who the token is",
        f'curl -s {base_url}/api/v1/account/session -H "Authorization: Bearer $TOKEN"',
        "",
        "# a further account, and an API key for the demo account",
        f"curl -s -X POST {base_url}/api/v1/project/account -H 'X-PROJECT-API-KEY: {project_api_key}' \\",
        """  -H 'Content-Type: application/json' -d '{"metadata": {"name": "Ada"}}'""",
        f"curl -s -X POST {account_url}/api-key -H 'X-PROJECT-API-KEY: {project_api_key}' \\",
        """  -H 'Content-Type: application/json' -d '{"name": "bot"}'""",
    ]


def _data_argument(data: DataDirectory) -> str:
    return f" --data {data.root}"
