"""`sealgate project`: the platform's customers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.help import TaughtCommand
from cli.operating import data_option, operate
from cli.output import say

if TYPE_CHECKING:
    from cli.operator_client import OperatorClient


@click.group()
def project() -> None:
    """Make and list projects, the customers of the platform."""


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
    """List all projects, oldest first: id, status, name."""
    from sealgate.common.v1.passport_pb2 import ProjectStatus

    for row in operate(data, lambda client: client.list_projects()):
        status = ProjectStatus.Name(row.status).removeprefix("PROJECT_STATUS_")
        say(f"{row.project_id}  {status:<9}  {row.name}")
