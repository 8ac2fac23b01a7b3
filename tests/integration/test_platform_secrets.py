"""Nothing secret reaches a log or an answer, also not when the server is broken on purpose."""

from __future__ import annotations

import json
import logging
import re
import sys
import uuid
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path
from typing import Any, Final

import grpc
import httpx
import pytest

import services.wallet.app
from chassis.ids import SystemIds
from chassis.log import configure_logging
from chassis.rpc.client import open_channel
from chassis.secrets import parse_secret_key
from chassis.testing.databases import TemplateDatabases
from sealgate.wallet.v1 import operator_pb2 as wallet_operator
from sealgate.wallet.v1.operator_pb2_grpc import OperatorServiceStub as WalletOperator
from services.wallet.config import WalletConfig
from tests.cluster import AUDIENCE, Cluster
from tests.platform_support import (
    UNKNOWN_SECRET,
    World,
    by_token,
    good,
    make_world,
    private_cluster,
    raw_exchange,
    refused,
    sql,
)

PROJECT: Final = "/api/v1/project"
ACCOUNTS: Final = "/api/v1/project/account"
OWN_KEYS: Final = "/api/v1/account/api-key"
CURRENT: Final = "/api/v1/account/session"
WALLETS: Final = "/api/v1/wallets"
WALLET: Final = "/api/v1/wallet"
MARKER: Final = "planted-7d1f0c"
PLANTED: Final = f"{MARKER} sk_{MARKER}{'A' * 34} postgresql://u:{MARKER}@db/auth password={MARKER}"


@dataclass
class Everywhere:
    """All that an operator could read: what is written, and what was given to be written."""

    written: StringIO
    given: list[str] = field(default_factory=list)

    def lines(self) -> list[dict[str, Any]]:
        """The log's lines; each is one JSON object."""
        return [json.loads(line) for line in self.written.getvalue().splitlines()]

    def text(self) -> str:
        return "\n".join([self.written.getvalue(), *self.given])


class Givens(logging.Handler):
    """Keeps messages and fields as they were before anything was blanked, exceptions left out."""

    def __init__(self, everywhere: Everywhere) -> None:
        super().__init__()
        self._everywhere = everywhere

    def emit(self, record: logging.LogRecord) -> None:
        arguments = record.args if isinstance(record.args, tuple) else (record.args,)
        if not any(isinstance(item, BaseException) for item in (record.msg, *arguments)):
            self._everywhere.given.append(record.getMessage())
        self._everywhere.given.append(str(getattr(record, "sealgate_fields", "")))


@pytest.fixture
def everywhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[Everywhere]:
    """The log as a process writes it, at its most talkative."""
    collected = Everywhere(StringIO())
    root = logging.getLogger()
    handlers, level, raises = root.handlers[:], root.level, logging.raiseExceptions
    monkeypatch.setattr(sys, "stderr", collected.written)
    configure_logging("platform", "debug")
    root.addHandler(Givens(collected))
    for handler in root.handlers:
        # The test's own client, which writes down every header.
        handler.addFilter(lambda record: not record.name.startswith(("httpx", "httpcore")))
    yield collected
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.raiseExceptions = raises


@pytest.fixture
async def cluster(template_databases: TemplateDatabases, short_directory: Path) -> AsyncIterator[Cluster]:
    """A platform of the test's own: it is broken."""
    async with private_cluster(template_databases, short_directory) as running:
        yield running


@pytest.fixture
async def world(cluster: Cluster) -> World:
    return await make_world(cluster)


def forms_of_key(secret: str) -> list[str]:
    """What a secret key could be written as, whole or in part."""
    seed = parse_secret_key(secret)
    assert seed is not None
    return [secret[3:], secret[:20], secret[-20:], *forms_of_seed(seed)]


def forms_of_seed(seed: bytes) -> list[str]:
    return [seed.hex(), urlsafe_b64encode(seed).decode().rstrip("="), str(seed), str(list(seed))]


def forms_of_token(token: str) -> list[str]:
    """Its parts; the header alone is no secret."""
    _, claims, signature = token.split(".")
    return [claims, signature, signature[:20]]


def private_seeds(cluster: Cluster) -> list[bytes]:
    """The platform's own signing keys."""
    files = [*cluster.directory.glob("passport/*"), *cluster.directory.glob("session/*")]
    texts = [value for file in files for value in json.loads(file.read_text("utf-8")).values()]
    return [uuid_free(value) for value in texts if isinstance(value, str) and len(value) >= 43]


def uuid_free(text: str) -> bytes:
    """The 32 bytes of a seed as key files hold it."""
    from base64 import urlsafe_b64decode

    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
