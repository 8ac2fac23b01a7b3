"""Serves the example page until Ctrl-C; `--help` says how."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType
from typing import Final, NoReturn

import click

from tools.demo.guide import SurpriseError
from tools.demo.stack import ignore_signals
from tools.demo_browser.page_server import PageServer
from tools.demo_browser.stage import Stage, example_stage

_PROGRAM: Final = ".venv/bin/sealgate"


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    metavar="PORT",
    help="Port of 127.0.0.1 that the page is served on; without it, or 0, any that is free.",
)
def main(port: int) -> None:
    """Runs a stack of its own and serves the web page of docs/examples/browser beside it, until Ctrl-C.

    The page trades with an API key that works from its own origin alone. Nothing is left at the end.
    """
    try:
        server = PageServer(port)
    except OSError as error:
        sys.exit(f"port {port} of 127.0.0.1 cannot be used: {error.strerror}")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    print("Starting a stack for the page…", flush=True)
    try:
        with server, example_stage(server) as stage:
            print(_greeting(stage), flush=True)
            threading.Event().wait()
    except KeyboardInterrupt:
        print("\nStopped; nothing is left behind.")
    except SurpriseError as surprise:
        sys.exit(str(surprise))


def _end(_: int, __: FrameType | None) -> NoReturn:
    """Ends the block that waits; a second signal would come into its cleaning up."""
    ignore_signals()
    raise KeyboardInterrupt


def _greeting(stage: Stage) -> str:
    data = f"--data {stage.data}"
    return f"""
The page is ready:  {stage.page}

Try this:
  - Make a session, place an order and cancel it. What the page may still do stands beside it.
  - Open the same page on another site, {stage.elsewhere}: the key does not list it,
    so the platform refuses it and the browser shows the page nothing of the answer.
  - Give the key three orders a minute, and place four:
      {_PROGRAM} key limits {stage.public_key} --order 3 {data}
  - Stop serving the project, then serve it again:
      {_PROGRAM} project set {stage.project_id} --status SUSPENDED {data}
      {_PROGRAM} project set {stage.project_id} --status ACTIVE {data}
  - Take the module for pages from it, and give it back; without it pages read, and place no orders:
      {_PROGRAM} project set {stage.project_id} --modules wallet,trading,signing {data}
      {_PROGRAM} project set {stage.project_id} --modules wallet,trading,browser,signing {data}

The platform: {stage.api} (its description: {stage.api}/docs)
Ctrl-C stops everything."""


if __name__ == "__main__":
    main()
