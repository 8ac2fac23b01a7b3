"""The example page beside a platform of its own, with a key that lists the page's first site."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sealgate.client import Sealgate
from tools.demo.stack import own_stack
from tools.demo_browser.page_server import PageServer, example_pages


@dataclass(frozen=True, slots=True)
class Stage:
    """Where everything is; nothing of it is a secret. `end_sessions` ends what pages made so far."""

    page: str
    elsewhere: str
    api: str
    data: Path
    project_id: str
    public_key: str
    end_sessions: Callable[[], object]


@contextmanager
def example_stage(server: PageServer) -> Iterator[Stage]:
    """A new stack with its demo account, and the page put on `server`.

    Raises SurpriseError when the stack does not start.
    """
    with (
        tempfile.TemporaryDirectory(prefix="sealgate-demo-") as scratch,
        own_stack(Path(scratch)) as ready,
        Sealgate(ready["base_url"], project_key=ready["project_api_key"]) as backend,
    ):
        key = backend.create_account_api_key(
            account_id=ready["account_id"], name="page", origins=[server.localhost]
        )
        server.pages |= example_pages(ready["base_url"], str(key.secret_key))
        yield Stage(
            page=f"{server.localhost}/",
            elsewhere=f"{server.numeric}/",
            api=ready["base_url"],
            data=Path(scratch) / "data",
            project_id=ready["project_id"],
            public_key=key.public_key,
            end_sessions=partial(backend.expire_all_sessions, account_id=ready["account_id"]),
        )
