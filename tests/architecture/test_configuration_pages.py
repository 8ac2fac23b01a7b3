"""Each service's README says what its configuration file takes."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Final, get_args

import pytest

from chassis.config import ServiceConfig, StrictModel
from tests.architecture.guards import ROOT

MODELS: Final = {"auth": "AuthConfig", "keys": "KeysConfig", "wallet": "WalletConfig"}


def members(model: type[StrictModel], prefix: str = "") -> Iterator[str]:
    """The members of a configuration, those of its parts by their paths."""
    for name, field in model.model_fields.items():
        kinds = get_args(field.annotation) or (field.annotation,)
        parts = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, StrictModel)]
        if not parts:
            yield f"{prefix}{name}"
        for part in parts:
            yield from members(part, f"{prefix}{name}.")


@pytest.mark.parametrize("service", MODELS)
def test_readme_has_a_row_for_every_member_of_the_configuration(service: str) -> None:
    """What can be written into the file can be read about."""
    model = getattr(import_module(f"services.{service}.config"), MODELS[service])
    assert issubclass(model, ServiceConfig)
    page = (ROOT / "services" / service / "README.md").read_text(encoding="utf-8")
    rows = {line.split("|")[1].strip().strip("`") for line in page.splitlines() if line.startswith("| `")}
    assert [name for name in members(model) if name not in rows] == []


def test_members_of_a_part_have_the_path_of_the_part() -> None:
    """A member that is itself a mapping, required or not, stands for what is in it."""
    named = list(members(ServiceConfig))
    assert {"audience", "database.dsn", "public.tls.key_file"} <= set(named)
    assert "public.tls" not in named
