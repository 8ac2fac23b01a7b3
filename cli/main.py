"""The executable `sealgate`. Commands import what is heavy only when they run."""

from __future__ import annotations

import click

from cli.config import config
from cli.help import TaughtGroup
from cli.key import key
from cli.market import market
from cli.migrate import migrate
from cli.output import say
from cli.project import project
from cli.serve import serve
from cli.session import session
from cli.signing import sign, verify
from cli.up import up
from cli.wallet import wallet

SECTIONS = {
    "Try it on this machine": [
        "sealgate up                            everything in ./.sealgate, REST on 127.0.0.1:8080",
        "sealgate project create --name Acme    a further project and its first key",
        "sealgate wallet deposit --wallet ID --amount 12.5 --reference REF",
        "sealgate market create --question TEXT",
        "sealgate wallet audit                  prove that no money got lost",
    ],
    "Sign requests": [
        "sealgate key generate session.key",
        "sealgate session mint session.key --url URL --key master.key --account ID --audience local",
        "sealgate sign payload CancelAllOrders --key session.key --account ID --audience NAME --body JSON",
        "sealgate verify payload envelope.json --audience NAME",
    ],
    "Run the parts one by one": [
        "sealgate config check deploy/edge.yaml",
        "sealgate migrate wallet --dsn DSN",
        "sealgate key create keys/passport",
        "sealgate key rotate-signing all",
        "sealgate serve wallet --config wallet.yaml",
    ],
    "Exit codes": [
        "0  done",
        "1  it did not work; the line on stderr says why",
        "2  it cannot work as called: usage, a taken port, an unusable directory or file",
    ],
}


def _say_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    from importlib.metadata import version

    del param
    if value and not ctx.resilient_parsing:
        say(f"sealgate {version('sealgate')}")
        ctx.exit()


@click.group(
    cls=TaughtGroup,
    sections=SECTIONS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_say_version,
    help="Show the version and exit.",
)
def main() -> None:
    """Sealgate: credentials and wallets for a trading platform."""


for command in (up, serve, migrate, key, project, market, wallet, config, sign, verify, session):
    main.add_command(command)

if __name__ == "__main__":
    main()
