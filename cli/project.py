"""`sealgate project`: the platform's customers."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from cli.help import TaughtCommand, TaughtGroup
from cli.operating import data_option, operate
from cli.output import say

if TYPE_CHECKING:
    from cli.operator_client import OperatorClient
    from sealgate.auth.v1.project_pb2 import Project

STATUSES: Final = ("ACTIVE", "PAST_DUE", "SUSPENDED", "CANCELLED")
MODULES: Final = ("wallet", "trading", "browser", "signing")
_STATE_HELP: Final = {
    "Statuses": [
        "ACTIVE     served",
        "PAST_DUE   reads, revoking credentials and cancelling orders; 403 SUBSCRIPTION_PAST_DUE otherwise",
        "SUSPENDED  403 TENANT_SUSPENDED for everything",
        "CANCELLED  403 SUBSCRIPTION_CANCELLED for everything",
    ],
    "Modules": [
        "wallet     wallets, balances, withdrawals",
        "trading    orders and positions, cancelling included",
        "browser    web pages that write with an API key",
        "signing    signed requests",
        "--modules is the whole list: what it leaves out is taken away.",
    ],
    "Examples": [
        "sealgate project set 01890a5d-ac96-774b-bcce-b302099a8057 --status PAST_DUE",
        "sealgate project set 01890a5d-ac96-774b-bcce-b302099a8057 --status ACTIVE",
        "",
        "Take `browser` away and leave the others, then give it back:",
        "sealgate project set 01890a5d-ac96-774b-bcce-b302099a8057 --modules wallet,trading,signing",
        "sealgate project set 01890a5d-ac96-774b-bcce-b302099a8057 --modules wallet,trading,browser,signing",
    ],
}


class ModulesType(click.ParamType[tuple[str, ...]]):
    """Names of modules on the command line with commas between them, each once."""

    name = "LIST"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Takes the list apart; ends with a usage error for one that the platform would not take."""
        if not str(value).strip():
            self.fail("at least one module stays; --status SUSPENDED stops serving a project", param, ctx)
        names = tuple(part.strip() for part in str(value).split(","))
        for name in names:
            if name not in MODULES:
                self.fail(f"{name!r} is no module: write some of {','.join(MODULES)}", param, ctx)
            if names.count(name) > 1:
                self.fail(f"{name!r} is there twice", param, ctx)
        return names


@click.group(cls=TaughtGroup)
def project() -> None:
    """Make, list and change projects, the customers of the platform."""


@project.command(cls=TaughtCommand, sections={"Examples": ['sealgate project create --name "Acme Trading"']})
@click.option("--name", required=True, help="Display name, 1 to 64 characters.")
@data_option
def create(name: str, data: Path) -> None:
    """Make a project and its first API key, which is shown this once."""

    async def make(client: OperatorClient) -> tuple[str, str]:
        project_id = await client.create_project(name)
        return project_id, await client.issue_project_key(project_id, "first")

    project_id, key = operate(data, make)
    say(f"project_id       {project_id}")
    say(f"project_api_key  {key}")
    say("The key is shown this once; keep it now.")


@project.command("list")
@data_option
def list_(data: Path) -> None:
    """List all projects, oldest first: id, status, modules, name."""
    room = len(",".join(MODULES))
    for row in operate(data, lambda client: client.list_projects()):
        say(f"{row.project_id}  {_status(row):<9}  {','.join(row.modules):<{room}}  {row.name}")


@project.command(
    "set",
    cls=TaughtCommand,
    sections=_STATE_HELP,
    short_help="Change a project's status and modules.",
)
@click.argument("project_id", type=click.UUID)
@click.option("--status", type=click.Choice(STATUSES), help="Whether it is served.")
@click.option(
    "--modules",
    type=ModulesType(),
    help="All its modules from now on, at least one, with commas, in the place of those it has.",
)
@data_option
def set_(project_id: uuid.UUID, status: str | None, modules: tuple[str, ...] | None, data: Path) -> None:
    """Change whether a project is served, and with which modules; `sealgate project list` has the ids.

    An option that is not given leaves its side as it is; --modules replaces the whole list. The change is
    in force with the next request, for every credential of the project and of its accounts; nothing is
    revoked, so that going back brings all of it back.
    """
    if status is None and modules is None:
        raise click.UsageError("nothing to change: give --status, --modules or both")
    changed = operate(data, lambda client: client.set_project_state(str(project_id), status, modules or ()))
    say(f"project_id  {changed.project_id}")
    say(f"status      {_status(changed)}")
    say(f"modules     {','.join(changed.modules)}")
    if missing := [name for name in MODULES if name not in changed.modules]:
        say(f"without     {','.join(missing)}")


def _status(row: Project) -> str:
    from sealgate.common.v1.passport_pb2 import ProjectStatus

    return ProjectStatus.Name(row.status).removeprefix("PROJECT_STATUS_")
