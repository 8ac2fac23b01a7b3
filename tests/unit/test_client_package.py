"""The client as a package of its own, for programs that run no part of the platform."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]


def project(folder: str) -> Any:  # noqa: ANN401 - a document
    return tomllib.loads((ROOT / folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_client_alone_has_the_version_of_the_platform() -> None:
    """Who installs it alone gets what the platform of that version serves."""
    alone, whole = project("client"), project(".")
    assert (alone["version"], alone["requires-python"]) == (whole["version"], whole["requires-python"])


def test_client_brings_nothing_of_the_platform_into_a_program() -> None:
    """No gRPC, no protobuf, no code of the services: httpx, PyNaCl and the language."""
    script = (
        "import sys, sealgate.client\n"
        "parts = {name.partition('.')[0] for name in sys.modules}\n"
        "print(sorted(parts & {'grpc', 'google', 'pydantic', 'asyncpg', 'yaml',"
        " 'chassis', 'services', 'edge', 'cli'}))"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"
    names = {item.partition(">")[0] for item in project("client")["dependencies"]}
    assert names == {"httpx", "pynacl"}
