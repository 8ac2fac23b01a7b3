"""The wait of withdrawal addresses on the command line reaches the wallet service, or is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from chassis.limits import WITHDRAWAL_ADDRESS_WAIT_MAX_SECONDS, WITHDRAWAL_ADDRESS_WAIT_SECONDS
from cli.data_directory import DataDirectory
from cli.main import main
from cli.stack_config import PORT_NAMES, SERVICES, service_documents
from cli.up import up
from services.wallet.config import WalletConfig


@pytest.mark.parametrize("wait_seconds", [0, 7, WITHDRAWAL_ADDRESS_WAIT_MAX_SECONDS])
def test_wait_reaches_the_wallet_service_when_it_is_given(tmp_path: Path, wait_seconds: int) -> None:
    """The service that keeps the addresses is told, and takes every wait that the command line takes."""
    documents = service_documents(
        DataDirectory(tmp_path),
        dict.fromkeys(SERVICES, "postgresql:///"),
        dict.fromkeys(PORT_NAMES, 1),
        rate_limits={},
        withdrawal_address_wait_seconds=wait_seconds,
    )
    config = WalletConfig.model_validate(documents["wallet"])
    assert config.withdrawal_address_wait_seconds == wait_seconds


def test_wait_is_the_services_own_when_nothing_is_said() -> None:
    """A stack that nobody told otherwise gives an account a day to stop a thief."""
    [option] = [item for item in up.params if item.name == "withdrawal_address_wait_seconds"]
    own = WalletConfig.model_fields["withdrawal_address_wait_seconds"].default
    assert option.default == own == WITHDRAWAL_ADDRESS_WAIT_SECONDS == 24 * 3600


@pytest.mark.parametrize("text", ["-1", str(WITHDRAWAL_ADDRESS_WAIT_MAX_SECONDS + 1), "1.5", "1h", ""])
def test_wait_is_refused_when_it_is_none(text: str) -> None:
    """A usage error that names the option; nothing is started."""
    answer = CliRunner().invoke(main, ["up", f"--withdrawal-address-wait={text}"])
    assert answer.exit_code == 2
    assert "--withdrawal-address-wait" in answer.output
