"""What the page of the client says to write works as it stands."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path
from typing import Final

import pytest

from sealgate.wallet.v1 import operator_pb2
from sealgate.wallet.v1.operator_pb2_grpc import OperatorServiceStub
from tests.cluster import Cluster, Tenant

PAGE: Final = Path(__file__).parents[2] / "docs" / "client.md"
# What is signed needs a platform of today: tests/e2e/test_signing_example.py runs that part.
TEXT: Final = PAGE.read_text(encoding="utf-8").partition("## Signed requests")[0]
BLOCKS: Final = re.findall(r"^```python\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
# The first is a program of its own, the others are another, piece by piece.
PROGRAMS: Final = {"with asyncio": BLOCKS[0], "without": "".join(BLOCKS[1:])}


@pytest.mark.parametrize("name", PROGRAMS)
async def test_page_of_the_client_works_when_pasted(
    cluster: Cluster, tenant: Tenant, tmp_path: Path, name: str
) -> None:
    """Both programs run to their end against the platform and print what they promise."""
    await OperatorServiceStub(cluster.internal["wallet"]).CreateMarket(
        operator_pb2.CreateMarketRequest(question="Is this the newest market?")
    )
    ended = await asyncio.create_subprocess_exec(
        sys.executable,
        "-W",
        "error",
        "-c",
        PROGRAMS[name],
        cwd=tmp_path,
        env=os.environ
        | {"SEALGATE_URL": str(cluster.http.base_url), "SEALGATE_PROJECT_KEY": tenant.project_key},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, trouble = await asyncio.wait_for(ended.communicate(), 60)
    assert ended.returncode == 0, trouble.decode()
    expected = (
        ["Wallet 1 0.000000"] if name == "with asyncio" else ["Is this the newest market?", "amount", " of "]
    )
    for text in expected:
        assert text in printed.decode()
