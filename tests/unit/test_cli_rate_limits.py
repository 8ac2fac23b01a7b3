"""Rate limits on the command line reach the services' configurations, or are refused with what is right."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from click.testing import CliRunner

from chassis.config import RateLimitsConfig, ServiceConfig
from chassis.shared_limits import SharedRateLimiter, rate_limiter
from chassis.testing.fakes import FakeClock
from cli.data_directory import DataDirectory
from cli.main import main
from cli.network import Address
from cli.rate_limits import RATE_CLASSES, parse_rate_limit
from cli.stack_config import PORT_NAMES, SERVICES, service_documents
from cli.stack_options import StackOptions
from services.auth.config import AuthConfig
from services.keys.config import KeysConfig
from services.wallet.config import WalletConfig

OF_THE_STORE: Final = {"store", "when_store_is_down"}


def limits_of(data: Path, given: dict[str, int]) -> dict[str, RateLimitsConfig]:
    """What each service would read of its file."""
    documents = service_documents(
        DataDirectory(data),
        dict.fromkeys(SERVICES, "postgresql:///"),
        dict.fromkeys(PORT_NAMES, 1),
        rate_limits=given,
        withdrawal_address_wait_seconds=0,
    )
    models: dict[str, type[ServiceConfig]] = {"auth": AuthConfig, "keys": KeysConfig, "wallet": WalletConfig}
    return {name: models[name].model_validate(documents[name]).rate_limits for name in SERVICES}


def test_every_class_reaches_the_services_that_count_it(tmp_path: Path) -> None:
    """Each service counts its own calls."""
    given = dict(parse_rate_limit(f"{name}={number}") for number, name in enumerate(RATE_CLASSES, 1000))
    for limits in limits_of(tmp_path, given).values():
        expected = {
            "read": 1000,
            "write": 1001,
            "order": 1002,
            "browser_session": 1003,
            "bad_credentials": 1004,
        }
        assert limits.model_dump(exclude=OF_THE_STORE) == {
            f"{key}_per_minute_count": count for key, count in expected.items()
        }


def test_limits_are_the_published_ones_when_nothing_is_said(tmp_path: Path) -> None:
    """300 reads, 60 writes, 600 orders, 30 browser sessions, 30 bad credentials."""
    assert limits_of(tmp_path, {})["auth"].model_dump(exclude=OF_THE_STORE) == {
        "read_per_minute_count": 300,
        "write_per_minute_count": 60,
        "order_per_minute_count": 600,
        "browser_session_per_minute_count": 30,
        "bad_credentials_per_minute_count": 30,
    }


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("orders=5", "browser-session"),
        ("=5", "bad-credentials"),
        ("order", "order=COUNT"),
        ("order=", "order=COUNT"),
        ("order=0", "1000000"),
        ("order=-1", "order=COUNT"),
        ("order=1.5", "order=COUNT"),
        ("order=1000001", "1000000"),
        ("order=\u0664", "order=COUNT"),
    ],
)
def test_limit_is_refused_with_what_is_right_when_it_is_none(text: str, names: str) -> None:
    """An unknown class is answered with the classes, a bad count with its bounds; nothing is started."""
    answer = CliRunner().invoke(main, ["up", "--rate-limit", text])
    assert answer.exit_code == 2
    assert names in answer.output


@pytest.mark.parametrize("command", [("up",), ("serve", "wallet", "--config", "wallet.yaml")])
@pytest.mark.parametrize("by_variable", [True, False], ids=["variable", "option"])
def test_bad_store_is_refused_without_its_password(command: tuple[str, ...], by_variable: bool) -> None:
    """Before anything is started; what is wrong stands there, the URL does not."""
    url = "http://:hunter2@store"
    option = () if by_variable else ("--rate-limit-store", url)
    answer = CliRunner().invoke(
        main, [*command, *option], env={"RATE_LIMIT_STORE": url if by_variable else None}
    )
    assert answer.exit_code == 2
    assert "write redis://HOST:PORT" in answer.output
    assert "hunter2" not in answer.output


def test_edge_takes_no_store_and_looks_at_none(tmp_path: Path) -> None:
    """The option is refused, wherever it stands; the variable, which others share, is passed over."""
    config = tmp_path / "edge.yaml"
    config.write_text("surprise: 1\n")
    serve, rest = ["serve"], ["edge", "--config", str(config)]
    option = ["--rate-limit-store", "http://:hunter2@store"]
    for arguments in ([*serve, *option, *rest], [*serve, *rest, *option]):
        answer = CliRunner().invoke(main, arguments, env={"RATE_LIMIT_STORE": None})
        assert answer.exit_code == 2
        assert "the edge counts no calls" in answer.stderr
        assert "hunter2" not in answer.output
    command = (sys.executable, "-P", "-m", "cli.main", *serve, *rest)
    environment = os.environ | {"RATE_LIMIT_STORE": "http://:hunter2@store"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"sealgate: {config}: ")


def test_store_of_a_stack_is_not_printed_with_its_options(tmp_path: Path) -> None:
    """They may end up in a log, by accident."""
    options = StackOptions(tmp_path, Address("127.0.0.1", 0), None, False, {}, 0, "redis://:hunter2@store")
    assert "hunter2" not in repr(options)


@pytest.mark.parametrize("scheme", ["redis", "rediss", "valkey", "valkeys", "VALKEY", "Rediss"])
async def test_store_is_understood_however_its_scheme_is_written(scheme: str) -> None:
    """What the check of a configuration lets through is made into connections, of which none is made yet."""
    config = RateLimitsConfig(store=f"{scheme}://127.0.0.1:6379")
    limiter = rate_limiter(config, "local", FakeClock())
    assert isinstance(limiter, SharedRateLimiter)
    await limiter.close()
