"""A load process for signed requests: each is signed under an id of its own when it is sent.

Run with a plan as JSON on stdin: as for `tools.bench.http_load`, but with `path`, `request_type` and
`audience`, and for each of the `connections` an `account_id`, the `seed` of its session key and the
`bodies` to sign in turn, both hexadecimal. Signing is the caller's work, and done before a request counts
as sent. An answer counts as the status in its body: a refusal comes with 200 too.
"""

from __future__ import annotations

import itertools
import json
import re
import sys
from collections.abc import Iterator
from typing import Any, Final

import uvloop

from chassis.clock import Clock, SystemClock
from chassis.ids import Ids, SystemIds
from sealgate.client.signing import KeyPair, Signer
from tools.bench.http_load import http_status, load
from tools.bench.phases import http_request

# In small letters: an order's own status is in capitals.
_STATUS: Final = re.compile(rb'"status": ?"([a-z_]+)"')


async def run(plan: dict[str, Any], clock: Clock) -> None:
    """Loads an address as planned and tells what came of it."""
    ids = SystemIds(clock)
    requests = [signed_requests(plan, connection, ids) for connection in plan["connections"]]
    await load(plan, clock, requests, signed_status)


def signed_requests(plan: dict[str, Any], connection: dict[str, Any], ids: Ids) -> Iterator[bytes]:
    """What one connection sends, for ever."""
    signer = Signer(
        KeyPair(bytes.fromhex(connection["seed"])), connection["account_id"], audience=plan["audience"]
    )
    for body in itertools.cycle([bytes.fromhex(text) for text in connection["bodies"]]):
        document = signer.payload(plan["request_type"], ids.uuid7(), body).document()
        yield http_request("POST", plan["path"], {}, document).encode("ascii")


def signed_status(answer: bytes) -> str:
    """What became of a signed request; of one that was none, the HTTP status."""
    found = _STATUS.search(answer)
    return http_status(answer) if found is None else found[1].decode("ascii")


if __name__ == "__main__":
    uvloop.run(run(json.load(sys.stdin), SystemClock()))
