"""The published vectors of what is refused, sent to the platform itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from chassis.testing.databases import TemplateDatabases
from chassis.testing.fakes import START_NS
from tests.platform_support import private_cluster

ROOT: Final = Path(__file__).parents[2]
VECTORS: Final[dict[str, Any]] = json.loads((ROOT / "tests/vectors/signing.json").read_text(encoding="utf-8"))


async def test_wrong_requests_are_refused_over_rest_as_the_vectors_say(
    template_databases: TemplateDatabases, short_directory: Path
) -> None:
    """With the status and the code that each has, at a platform whose time is the vectors' own."""
    async with private_cluster(template_databases, short_directory) as cluster:
        answered, expected = {}, {}
        for row in VECTORS["refused"]:
            assert row["now_ns"] == START_NS
            answer = await cluster.http.post(row["route"], json=row["envelope"])
            answered[row["name"]] = answer.status_code, answer.json()["error"]["code"]
            expected[row["name"]] = row["http_status"], row["code"]
        for row in VECTORS["refused_headers"]:
            headers = row["headers"] | ({"content-type": "application/json"} if row["body"] else {})
            answer = await cluster.http.request(
                row["verb"], row["target"], content=row["body"], headers=headers
            )
            name = f"{row['name']} in headers"
            answered[name] = answer.status_code, answer.json()["error"]["code"]
            expected[name] = row["http_status"], row["code"]
    assert answered == expected
