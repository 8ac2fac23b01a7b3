"""One process of the platform from its configuration file to the last answered call."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, Protocol, TypeVar

import uvloop

from chassis.clock import Clock, SystemClock
from chassis.config import ConfigError, ServiceConfig, load_config
from chassis.ids import Ids, SystemIds
from chassis.log import configure_logging
from chassis.methods import MethodTableError
from cli.output import CommandFailed, CommandRefused

_logger: Final = logging.getLogger(__name__)


_Config = TypeVar("_Config", bound=ServiceConfig)


class Server(Protocol):
    """What every composition root builds."""

    async def start(self) -> None:
        """Takes requests from now on."""
        ...

    async def stop(self) -> None:
        """Takes no more, ends those that run within the drain time, and closes everything."""
        ...


def _with_store(config: _Config, store: str | None) -> _Config:
    """The configuration with another rate limit store, or as it is."""
    if store is None:
        return config
    limits = config.rate_limits.model_copy(update={"store": store})
    return config.model_copy(update={"rate_limits": limits})


async def _auth(config_file: Path, store: str | None, clock: Clock, ids: Ids) -> Server:
    from services.auth.app import build
    from services.auth.config import AuthConfig

    config = _with_store(load_config(config_file, AuthConfig), store)
    configure_logging("auth", config.log_level)
    return await build(config, clock, ids)


async def _keys(config_file: Path, store: str | None, clock: Clock, ids: Ids) -> Server:
    from services.keys.app import build
    from services.keys.config import KeysConfig

    config = _with_store(load_config(config_file, KeysConfig), store)
    configure_logging("keys", config.log_level)
    return await build(config, clock, ids)


async def _wallet(config_file: Path, store: str | None, clock: Clock, ids: Ids) -> Server:
    from services.wallet.app import build
    from services.wallet.config import WalletConfig

    config = _with_store(load_config(config_file, WalletConfig), store)
    configure_logging("wallet", config.log_level)
    return await build(config, clock, ids)


async def _edge(config_file: Path, store: str | None, clock: Clock, ids: Ids) -> Server:
    from edge.app import build
    from edge.config import load

    del store  # it counts nothing
    config = load(config_file)
    configure_logging("edge", config.log_level)
    return await build(config, clock, ids)


_BUILDERS: Final[dict[str, Callable[[Path, str | None, Clock, Ids], Awaitable[Server]]]] = {
    "auth": _auth,
    "keys": _keys,
    "wallet": _wallet,
    "edge": _edge,
}


def run(name: str, config_file: Path, rate_limit_store: str | None = None) -> None:
    """Serves until SIGTERM or SIGINT, with `rate_limit_store` in place of the one in the configuration.

    Raises CommandRefused for a configuration that cannot be used, CommandFailed for what else ends it.
    """
    configure_logging(name)
    try:
        uvloop.run(_serve(name, config_file, rate_limit_store))
    except (ConfigError, MethodTableError) as error:
        raise CommandRefused(str(error)) from None
    except Exception as error:
        # The log has where it happened; its text might hold a secret and goes nowhere.
        _logger.critical("ended by an error", exc_info=error)
        raise CommandFailed(f"{name} was ended by {type(error).__name__}") from None


async def _serve(name: str, config_file: Path, rate_limit_store: str | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    clock = SystemClock()
    server = await _BUILDERS[name](config_file, rate_limit_store, clock, SystemIds(clock))
    await server.start()
    # What was loaded stays for good, so the collector need not look at it ever again.
    gc.freeze()
    gc.enable()
    with contextlib.ExitStack() as signals:
        for number in (signal.SIGTERM, signal.SIGINT):
            signals.callback(loop.remove_signal_handler, number)
        await stop.wait()
    # From here on a second signal ends the process at once, as the system's default has it.
    await server.stop()
