"""The configuration files and signing keys of a local stack."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from chassis.clock import Clock
from chassis.ids import Ids
from cli.data_directory import DataDirectory, DataDirectoryError, write_atomically
from cli.network import Address
from cli.rate_limits import rate_limits_document

SERVICES: Final = ("auth", "keys", "wallet")
AUDIENCE: Final = "local"
POOL_SIZE_COUNT: Final = 10
METRICS_PORTS: Final = {name: f"{name}-metrics" for name in SERVICES}
PORT_NAMES: Final = (*SERVICES, *METRICS_PORTS.values())
DESCRIPTOR_FILE: Final = Path(__file__).resolve().parent.parent / "gen" / "sealgate.binpb"


def make_signing_keys(data: DataDirectory, clock: Clock, ids: Ids) -> None:
    """Makes the private keys that a new stack needs; those that exist stay.

    Raises DataDirectoryError when they cannot be used: auth would end with the same reason, again and
    again, in a log that nobody reads at first.
    """
    from chassis.keyring import KeyRing, KeyRingError, create_key
    from cli.key_rotation import SHOWN_SECONDS

    for purpose in SHOWN_SECONDS:
        directory = data.keys / purpose
        if not any(directory.glob("*.json")):
            create_key(directory, ids.seed(), clock.now_ns())
        try:
            KeyRing.load(directory)
        except KeyRingError as error:
            raise DataDirectoryError(str(error)) from None


def service_documents(
    data: DataDirectory,
    dsns: Mapping[str, str],
    ports: Mapping[str, int],
    rate_limits: Mapping[str, int],
    withdrawal_address_wait_seconds: int,
) -> dict[str, dict[str, Any]]:
    """What each service is told, by its name.

    `ports` is by the names in `PORT_NAMES`; `rate_limits` has calls a minute by class.
    """
    own: dict[str, dict[str, Any]] = {
        "auth": {
            "passport_key_dir": str(data.keys / "passport"),
            "session_key_dir": str(data.keys / "session"),
            "browser_key_dir": str(data.keys / "browser"),
            "keys_target": data.socket_target("keys"),
        },
        "keys": {
            "auth_target": data.socket_target("auth"),
            "wallet_target": data.socket_target("wallet"),
        },
        "wallet": {
            "auth_target": data.socket_target("auth"),
            "withdrawal_address_wait_seconds": withdrawal_address_wait_seconds,
        },
    }
    return {
        name: {
            "audience": AUDIENCE,
            "database": {"dsn": dsns[name], "pool_size_count": POOL_SIZE_COUNT},
            "public": {"address": str(Address("127.0.0.1", ports[name]))},
            "internal": data.socket_target(name),
            "metrics": {"address": str(Address("127.0.0.1", ports[METRICS_PORTS[name]]))},
            "rate_limits": rate_limits_document(rate_limits),
            **own[name],
        }
        for name in SERVICES
    }


def edge_document(data: DataDirectory, http: Address) -> dict[str, Any]:
    """What the edge is told: Envoy's own format."""
    from edge.config import bootstrap

    return bootstrap(
        host=http.host,
        port=http.port,
        sockets={name: data.sockets / f"{name}.sock" for name in SERVICES},
        descriptor=DESCRIPTOR_FILE,
        audience=AUDIENCE,
    )


def write_config(data: DataDirectory, name: str, document: Mapping[str, Any]) -> None:
    """Writes one configuration file, for its owner only."""
    text = f"# Written by `sealgate up` at every start.\n{yaml.safe_dump(dict(document), sort_keys=False)}"
    write_atomically(data.config / f"{name}.yaml", text, mode=0o600)
