"""The demo's credentials, kept in the data directory so that every start can print them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from cli.data_directory import write_atomically


@dataclass(frozen=True, slots=True)
class Demo:
    """What was seeded so far; a step not done yet is an empty string."""

    project_id: str = ""
    project_api_key: str = ""
    account_id: str = ""
    wallet_id: str = ""
    provider_account_id: str = ""
    provider_wallet_id: str = ""
    event_id: str = ""
    condition_id: str = ""
    token_id: str = ""
    second_condition_id: str = ""
    quoted: str = ""

    @classmethod
    def read(cls, path: Path) -> Demo:
        """What an earlier start has kept; nothing, when there was none. Raises ValueError if spoilt."""
        if not path.exists():
            return cls()
        document = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(document, dict):
            raise ValueError("not a JSON object")
        return cls(**{name: str(document.get(name, "")) for name in asdict(cls())})

    def write(self, path: Path) -> None:
        """Keeps it for the next start, for its owner only."""
        write_atomically(path, json.dumps(asdict(self), indent=2) + "\n", mode=0o600)

    @property
    def is_complete(self) -> bool:
        """Whether every step was done."""
        return all(asdict(self).values())
