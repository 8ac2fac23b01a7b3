"""What stops the edge from starting, and says so."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from chassis.config import ConfigError
from chassis.methods import MethodTableError
from chassis.testing.fakes import CountingIds, FakeClock
from edge.app import Edge, build
from edge.config import SERVICES, bootstrap, load
from tests.unit.edge_support import DESCRIPTOR, OPEN_RULE, PACKAGE, SERVICE, Rpc, write_descriptor

GET: Final = {"get": "/sample"}


async def built(
    directory: Path, clock: FakeClock, ids: CountingIds, change: Callable[[dict[str, Any]], object]
) -> Edge:
    """An edge of a changed configuration."""
    document = bootstrap(
        host="127.0.0.1",
        port=0,
        sockets={name: directory / f"{name}.sock" for name in SERVICES},
        descriptor=DESCRIPTOR,
        audience="edge.test",
    )
    change(document)
    path = directory / "edge.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return await build(load(path), clock, ids)


def manager(document: dict[str, Any]) -> dict[str, Any]:
    """The connection manager in a bootstrap."""
    listener = document["static_resources"]["listeners"][0]
    return listener["filter_chains"][0]["filters"][0]["typed_config"]  # type: ignore[no-any-return]


def serve_sample(document: dict[str, Any], descriptor: Path) -> None:
    """Serves the sample service of `descriptor` beside what is served."""
    transcoder = manager(document)["http_filters"][2]["typed_config"]
    transcoder["proto_descriptor"] = str(descriptor)
    transcoder["services"].append(SERVICE)
    routes = manager(document)["route_config"]["virtual_hosts"][0]["routes"]
    routes.append({"match": {"prefix": f"/{PACKAGE}."}, "route": {"cluster": "auth", "timeout": "1s"}})


async def test_edge_is_built_with_a_further_service(
    tmp_path: Path, clock: FakeClock, ids: CountingIds
) -> None:
    """What is served is a matter of descriptor and configuration, not of code."""
    descriptor = write_descriptor(tmp_path / "sample.binpb", [Rpc("Do", GET, OPEN_RULE)])
    await built(tmp_path, clock, ids, lambda document: serve_sample(document, descriptor))


@pytest.mark.parametrize(
    ("rpcs", "error", "complaint"),
    [
        ([Rpc("Do", GET)], MethodTableError, "has no access rule"),
        ([Rpc("Do", GET, OPEN_RULE), Rpc("Again", GET, OPEN_RULE)], ConfigError, "served twice"),
        ([Rpc("Do", {"get": "/healthz"}, OPEN_RULE)], ConfigError, "served twice"),
        ([Rpc("Do", {"get": "/sample/{big}"}, OPEN_RULE)], ConfigError, "no string field"),
    ],
)
async def test_edge_does_not_start_with_a_method_that_it_cannot_serve(
    tmp_path: Path,
    clock: FakeClock,
    ids: CountingIds,
    rpcs: list[Rpc],
    error: type[Exception],
    complaint: str,
) -> None:
    """A mistake in a proto shows at the start and not at a request."""
    descriptor = write_descriptor(tmp_path / "sample.binpb", rpcs)
    with pytest.raises(error, match=complaint):
        await built(tmp_path, clock, ids, lambda document: serve_sample(document, descriptor))


async def test_edge_does_not_start_without_its_descriptor(
    tmp_path: Path, clock: FakeClock, ids: CountingIds
) -> None:
    """A descriptor set that is not there, or none, is a configuration error that names it."""
    missing, wrong = tmp_path / "none.binpb", tmp_path / "text.binpb"
    wrong.write_text("text", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"none\.binpb cannot be read \(No such file or directory\)$"):
        await built(tmp_path, clock, ids, lambda document: serve_sample(document, missing))
    with pytest.raises(ConfigError, match=r"text\.binpb is not a descriptor set"):
        await built(tmp_path, clock, ids, lambda document: serve_sample(document, wrong))


async def test_edge_says_from_where_it_looked_for_a_relative_descriptor(
    tmp_path: Path, clock: FakeClock, ids: CountingIds
) -> None:
    """Whoever starts it in another directory learns that this was it."""
    where = re.escape(f"it is looked for in the working directory, {Path.cwd()}")
    with pytest.raises(ConfigError, match=rf"none\.binpb cannot be read \(.*\); {where}$"):
        await built(tmp_path, clock, ids, lambda document: serve_sample(document, Path("none.binpb")))


async def test_edge_does_not_start_on_a_port_that_is_taken(
    tmp_path: Path, clock: FakeClock, ids: CountingIds
) -> None:
    """A second edge on the same port is refused, not given half of the connections."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        def take(document: dict[str, Any]) -> None:
            listener = document["static_resources"]["listeners"][0]
            listener["address"]["socket_address"]["port_value"] = port

        edge = await built(tmp_path, clock, ids, take)
        with pytest.raises(ConfigError, match=f"127.0.0.1:{port}: cannot listen here"):
            await edge.start()
        await edge.stop()
