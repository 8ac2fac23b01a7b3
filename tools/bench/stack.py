"""The processes that are measured: a stack of the bench's own, and the empty hop beside it."""

from __future__ import annotations

import contextlib
import importlib.resources
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc_tools
import httpx
import yaml

from chassis.clock import NANOSECONDS_PER_SECOND, Clock
from chassis.limits import RATE_LIMIT_MAX_PER_MINUTE_COUNT
from cli.network import bind_or_none
from edge.config import bootstrap
from tools.bench.floor_server import SERVICE

SEALGATE: Final = (sys.executable, "-P", "-m", "cli.main")
PROTO: Final = Path(__file__).with_name("floor.proto")
ROOT: Final = Path(__file__).resolve().parents[2]
FLOOR_PATH: Final = "/bench/floor"
RATE_CLASSES: Final = ("read", "write", "order")
_STOP_SECONDS: Final = 60.0


class BenchError(Exception):
    """A run that cannot go on; the text is for a person."""


@dataclass(frozen=True, slots=True)
class RunningStack:
    """`sealgate up` in a directory, ready."""

    data: Path
    ready: Mapping[str, Any]
    start_seconds: float

    @property
    def pids(self) -> dict[str, int]:
        """The process ids, by name."""
        return dict(self.ready["pids"])


@contextlib.contextmanager
def running_stack(directory: Path, clock: Clock) -> Iterator[RunningStack]:
    """Runs `sealgate up` on the data in `directory`, new or from an earlier run.

    Raises BenchError when it does not come up.
    """
    data, ready_file = directory / "data", directory / "ready.json"
    # No run reaches these: what is measured is the platform, its limiters included.
    limits = [f"--rate-limit={name}={RATE_LIMIT_MAX_PER_MINUTE_COUNT}" for name in RATE_CLASSES]
    arguments = ("--data", str(data), "--http", "127.0.0.1:0", "--ready-file", str(ready_file), *limits)
    started_ns = clock.monotonic_ns()
    # In a session of its own: Ctrl-C is for us, and we stop it in order.
    process = subprocess.Popen(
        (*SEALGATE, "up", *arguments), stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert process.stdout is not None  # noqa: S101 - it was asked for
        if not any(line.startswith("Sealgate is ready") for line in process.stdout):
            raise BenchError("the stack did not start")
        seconds = (clock.monotonic_ns() - started_ns) / NANOSECONDS_PER_SECOND
        yield RunningStack(data, json.loads(ready_file.read_text(encoding="utf-8")), seconds)
    finally:
        process.terminate()
        process.communicate(timeout=_STOP_SECONDS)


def check_books(stack: RunningStack) -> None:
    """Raises BenchError when the books are not clean: speed that loses money is none."""
    command = (*SEALGATE, "wallet", "audit", "--data", str(stack.data))
    audit = subprocess.run(command, capture_output=True, text=True, check=False)
    if audit.returncode != 0:
        raise BenchError(audit.stdout + audit.stderr)


@dataclass(frozen=True, slots=True)
class Floor:
    """An edge in front of an empty server, and that server's own socket."""

    base_url: str
    target: str
    pids: Mapping[str, int]


@contextlib.contextmanager
def running_floor(directory: Path, clock: Clock) -> Iterator[Floor]:
    """Runs the empty server and an edge of the product in front of it.

    Raises BenchError when they do not come up.
    """
    directory.mkdir(mode=0o700)
    socket = directory / "floor.sock"
    config, port = _edge_config(directory, socket)
    server = (sys.executable, "-P", "-m", "tools.bench.floor_server", f"unix:{socket}")
    edge = (*SEALGATE, "serve", "edge", "--config", str(config))
    with contextlib.ExitStack() as running:
        log = running.enter_context((directory / "log").open("wb"))
        commands: dict[str, Sequence[str]] = {"floor-server": server, "floor-edge": edge}
        pids = {
            name: running.enter_context(_child(command, log.fileno())) for name, command in commands.items()
        }
        base_url = f"http://127.0.0.1:{port}"
        _wait_until_ready(f"{base_url}{FLOOR_PATH}", clock)
        yield Floor(base_url, f"unix:{socket}", pids)


@contextlib.contextmanager
def _child(command: Sequence[str], log: int) -> Iterator[int]:
    process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait(_STOP_SECONDS)


def _wait_until_ready(url: str, clock: Clock) -> None:
    deadline_ns = clock.monotonic_ns() + 30 * NANOSECONDS_PER_SECOND
    transport = httpx.HTTPTransport(retries=3)
    with httpx.Client(transport=transport) as client:
        while clock.monotonic_ns() < deadline_ns:
            with contextlib.suppress(httpx.TransportError):
                if client.get(url).is_success:
                    return
    raise BenchError("the floor did not start")


def _edge_config(directory: Path, socket: Path) -> tuple[Path, int]:
    """The file of an edge that is configured as the stack's own, but for what stands behind it."""
    listener = bind_or_none("127.0.0.1", 0)
    if listener is None:
        raise BenchError("no free port")
    with listener:
        port = int(listener.getsockname()[1])
    document = bootstrap(
        host="127.0.0.1",
        port=port,
        sockets=dict.fromkeys(("auth", "keys", "wallet"), socket),
        descriptor=compile_descriptor(directory),
        audience="bench",
    )
    resources = document["static_resources"]
    # Credentials would be exchanged there, if the method took any.
    resources["clusters"] = [one for one in resources["clusters"] if one["name"] == "auth"]
    manager = resources["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    route = manager["route_config"]["virtual_hosts"][0]["routes"][0]
    route["match"]["prefix"] = f"/{SERVICE}"
    manager["route_config"]["virtual_hosts"][0]["routes"] = [route]
    for entry in manager["http_filters"]:
        if "services" in entry["typed_config"]:
            entry["typed_config"]["services"] = [SERVICE]
    path = directory / "edge.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path, port


def compile_descriptor(directory: Path) -> Path:
    """Compiles the bench's own proto, which is none of the product's, into a descriptor set."""
    target = directory / "floor.binpb"
    compiler = Path(grpc_tools.__file__).resolve()
    includes = (
        PROTO.parent,
        ROOT / "protos",
        compiler.parent.parent,
        Path(str(importlib.resources.files("grpc_tools") / "_proto")),
    )
    command = [sys.executable, "-m", "grpc_tools.protoc", *(f"--proto_path={path}" for path in includes)]
    command += ["--include_imports", "--include_source_info", f"--descriptor_set_out={target}", PROTO.name]
    subprocess.run(command, check=True)
    return target
