"""`make demo`: the published flows against a stack of their own."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Final

_SECONDS: Final = 240
_SECRET: Final = re.compile(r"sk_[A-Za-z0-9_-]{8}|dk_[A-Za-z0-9_-]{8}|eyJ[A-Za-z0-9_-]{8}")


def test_demo_goes_as_published_and_shows_no_secret() -> None:
    """Every step is as the platform promises, and what is on the screen can be shown to anybody."""
    ended = subprocess.run(
        [sys.executable, "-m", "tools.demo"], capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr
    last = ended.stdout.rstrip().splitlines()[-1]
    steps = re.findall(r"^ ?\d+\. ", ended.stdout, re.MULTILINE)
    assert last == f"all {len(steps)} steps ok"
    for shown in (
        "idempotent-replayed: true",
        "RATE_LIMITED",
        "retry-after: ",
        '"status":"FILLED"',
        '"status":"duplicate_request_id"',
        '"status":"rejected_not_admin_rooted"',
        '"status":"session_rejected_max_sessions"',
        '"status":"withdrawal_rejected_address"',
        "SIGNATURE_REQUIRED",
        "access-control-allow-origin: https://shop.example",
        "access-control-max-age: 600",
        "ORIGIN_NOT_ALLOWED",
        "TENANT_SUSPENDED",
        "MODULE_NOT_ENABLED",
        '"state":"CONFIRMED"',
    ):
        assert shown in ended.stdout, shown
    assert _SECRET.findall(ended.stdout) == []
