"""The page about signing says what the code does: its example, its statuses, its numbers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

from chassis import limits
from chassis.errors import Code
from chassis.signing import Status
from sealgate.client.signing import REQUEST_WINDOW_SECONDS

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "docs/signing.md").read_text(encoding="utf-8")
VECTORS: Final[dict[str, Any]] = json.loads((ROOT / "tests/vectors/signing.json").read_text(encoding="utf-8"))
[EXAMPLE] = [row for row in VECTORS["payloads"] if row["name"] == "submit_cancel_all_orders_1"]


def part(start: str, end: str) -> str:
    """What stands between two texts of the page, the first pair of them."""
    return PAGE.partition(start)[2].partition(end)[0]


def test_example_is_a_vector_byte_by_byte() -> None:
    """Its rows, one after the other, are the bytes that the vector signs, each at the offset it says."""
    rows = re.findall(
        r"^\| (\d+) \| `([0-9a-f ]+)` \|", part("<!-- example -->", "<!-- end -->"), re.MULTILINE
    )
    joined = b""
    for offset, octets in rows:
        assert int(offset) == len(joined)
        joined += bytes.fromhex(octets)
    assert joined.hex() == EXAMPLE["signed"]
    assert f"These {len(joined)} bytes are signed" in PAGE
    assert joined[53:].hex() == EXAMPLE["payload"]
    assert "begins at offset 53" in PAGE


def test_example_s_request_is_the_vector_s() -> None:
    """Who follows the page arrives at the envelope that it shows."""
    [envelope] = [text for text in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL) if "signature" in text]
    assert json.loads(envelope) == EXAMPLE["envelope"]
    for name in ("seed", "audience", "account_id", "request_id"):
        assert f"`{EXAMPLE[name]}`" in PAGE
    assert EXAMPLE["fields"]["wallet_id"] in PAGE


def test_every_status_is_explained() -> None:
    """The table has each status once, and none that there is not."""
    rows = re.findall(
        r"^\| `([a-z_]+)` \|", part("| status | what it says |", "Treat a status"), re.MULTILINE
    )
    assert sorted(rows) == sorted(Status)


def test_codes_that_the_page_names_exist() -> None:
    """Words in capitals are codes, or one of the few others that the page is about."""
    others = {"FULL_ACCESS", "TRADING_ONLY", "ADMIN", "SCOPED", "GET", "POST"}
    words = set(re.findall(r"`([A-Z][A-Z_]+)`", PAGE.partition("## The messages")[0])) | set(
        re.findall(r"`([A-Z][A-Z_]{5,})`", part("## Answers", "## Limits"))
    )
    assert words <= set(Code) | others


def test_numbers_of_the_page_are_those_of_the_code() -> None:
    """Windows, caps and waiting times."""
    assert limits.SIGNED_REQUEST_AGE_SECONDS == REQUEST_WINDOW_SECONDS
    for text in (
        f"from {limits.SIGNED_REQUEST_AGE_SECONDS} seconds after the time in it",
        f"to {limits.SIGNED_REQUEST_LEAD_SECONDS} seconds before",
        f"at {limits.SIGNED_REQUEST_CLOSED_SECONDS} seconds it does not run any more",
        f"kept for {limits.SIGNED_REQUEST_KEPT_SECONDS // 86400} days",
        f"| payload | {limits.SIGNED_PAYLOAD_MAX_BYTES // 1024} KiB |",
        f"| ADMIN master keys | {limits.ADMIN_MASTER_KEYS_PER_ACCOUNT_COUNT} an account |",
        f"| SCOPED master keys | {limits.SCOPED_MASTER_KEYS_PER_SUBACCOUNT_COUNT} a subaccount |",
        f"| live session keys | {limits.SESSION_KEYS_PER_MASTER_KEY_COUNT} a master key |",
        f"| device keys | {limits.DEVICE_KEYS_PER_ACCOUNT_COUNT} an account |",
        f"| subaccounts | {limits.SUBACCOUNTS_PER_ACCOUNT_COUNT} an account |",
        f"| withdrawal addresses | {limits.WITHDRAWAL_ADDRESSES_PER_ACCOUNT_COUNT} an account |",
        f"after {limits.DEVICE_KEY_IDLE_SECONDS // 86400} days without use",
        f"after {limits.DEVICE_KEY_LIFETIME_SECONDS // 86400} days in any case",
        f"{limits.WITHDRAWAL_ADDRESS_WAIT_SECONDS // 3600} hours unless the deployment says otherwise",
    ):
        assert text in " ".join(PAGE.split()) or text in PAGE, text
