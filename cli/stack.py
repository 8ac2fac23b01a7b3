"""A whole local stack as one parent process: bring up, keep up, stop in order."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

from chassis.clock import NANOSECONDS_PER_SECOND, Clock, SystemClock
from chassis.db.embedded import SUPERUSER, EmbeddedPostgres, EmbeddedPostgresError
from chassis.ids import Ids, SystemIds
from cli.data_directory import DataDirectory, DataDirectoryError, write_atomically
from cli.database_names import database_name, service_role
from cli.demo import Demo
from cli.network import Address, bind_or_none
from cli.output import CommandFailed, CommandRefused, complain, mention
from cli.programs import PostgresProgram, ProgramError, ServiceProgram
from cli.readiness import http_status, last_message, wait_for_socket, wait_until_ready
from cli.stack_config import (
    METRICS_PORTS,
    PORT_NAMES,
    SERVICES,
    edge_document,
    make_signing_keys,
    service_documents,
    write_config,
)
from cli.stack_options import Seeded, StackOptions
from cli.store_option import STORE_VARIABLE
from cli.supervisor import Supervisor

READY_WITHIN_SECONDS: Final = 60.0
# The end in order, each with its grace: a service may take its drain time on both of its listeners.
_LAST_FIRST: Final = (("edge", 8.0), ("wallet", 12.0), ("keys", 12.0), ("auth", 12.0), ("postgres", 20.0))


class Stack:
    """One run of `sealgate up`."""

    def __init__(self, options: StackOptions) -> None:
        self._clock: Clock = SystemClock()
        self._ids: Ids = SystemIds(self._clock)
        self._data = DataDirectory(options.data)
        self._ready_file = options.ready_file
        self._wants_seed = options.seeded
        self._http = options.http
        self._rate_limits = options.rate_limits
        self._withdrawal_address_wait_seconds = options.withdrawal_address_wait_seconds
        # In their environment: a configuration file would keep the password that a URL can hold.
        store = options.rate_limit_store
        self._environment = os.environ | ({STORE_VARIABLE: store} if store else {})
        self._ports: Mapping[str, int] = {}
        self._seeded = Seeded()
        self._ready = False
        self._supervisor = Supervisor(self._clock, mention, self._write_ready_file)
        self._stop_signals = 0
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Brings the stack up and keeps it up until a signal asks for its end.

        Raises CommandRefused when this place cannot be used, CommandFailed when it does not come up.
        """
        started_ns = self._clock.monotonic_ns()
        self._listen_for_signals()
        self._claim()
        asked_to_stop = asyncio.create_task(self._stop.wait())
        bringing_up = asyncio.create_task(self._bring_up())
        try:
            await asyncio.wait({bringing_up, asked_to_stop}, return_when=asyncio.FIRST_COMPLETED)
            # Whatever went wrong after a signal went wrong because of it.
            if not self._stop.is_set():
                bringing_up.result()
                self._greet((self._clock.monotonic_ns() - started_ns) / NANOSECONDS_PER_SECOND)
                await asked_to_stop
        finally:
            asked_to_stop.cancel()
            bringing_up.cancel()
            await asyncio.gather(bringing_up, return_exceptions=True)
            await self._bring_down()
        if self._stop_signals > 1:
            raise CommandFailed("stopped at once; the next start takes a moment longer to recover")

    def _listen_for_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # `nohup` means that a closed terminal is no reason to stop.
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                loop.add_signal_handler(number, self._on_signal)

    def _on_signal(self) -> None:
        self._stop_signals += 1
        if self._stop_signals == 1:
            mention("Stopping; once more to stop at once.")
            self._stop.set()
        else:
            self._supervisor.kill()

    def _claim(self) -> None:
        """Takes the data directory, the port and the ready-file before anything is started."""
        try:
            if not self._data.root.exists():
                # So that a start on a taken port leaves no new directory behind.
                self._claim_port(self._http)
            self._data.claim()
            self._refuse_lost_databases()
            self._http = self._claim_port(self._http)
            self._ports = self._data.ports("127.0.0.1", PORT_NAMES)
            if self._ready_file is not None:
                # One from an earlier run would speak of processes that are gone.
                self._ready_file.unlink(missing_ok=True)
                write_atomically(self._ready_file, "", mode=0o600)
                self._ready_file.unlink()
        except DataDirectoryError as error:
            raise CommandRefused(str(error)) from None
        except OSError as error:
            raise CommandRefused(f"cannot write {self._ready_file}: {error.strerror}") from None

    def _refuse_lost_databases(self) -> None:
        """Starting anew where money has been would hide that it is gone."""
        if self._data.demo_file.exists() and not self._data.postgres.exists():
            raise CommandRefused(
                f"{self._data.postgres} is gone, and with it all accounts and money; "
                f"put it back, or delete {self._data.root} to start anew"
            )

    @staticmethod
    def _claim_port(asked: Address) -> Address:
        try:
            listener = bind_or_none(asked.host, asked.port)
        except OSError as error:
            raise CommandRefused(f"cannot listen on {asked}: {error.strerror}") from None
        if listener is None:
            raise CommandRefused(f"{asked} is taken by another program; choose another port with --http")
        with listener:
            return Address(asked.host, listener.getsockname()[1])

    async def _bring_up(self) -> None:
        mention(f"Starting Sealgate in {self._data.root}")
        postgres = EmbeddedPostgres(self._data.postgres, self._data.postgres_sockets)
        try:
            make_signing_keys(self._data, self._clock, self._ids)
            # The services load while the cluster starts; they connect when they are first asked.
            for name, document in self._documents(postgres):
                write_config(self._data, name, document)
                await self._supervisor.start(self._service(name))
            await self._supervisor.start(
                PostgresProgram(postgres, self._data.postgres, (EmbeddedPostgresError,))
            )
        except (ProgramError, DataDirectoryError) as error:
            raise CommandRefused(str(error)) from None
        await self._prepare_databases(postgres)
        await self._wait_until_ready()
        if self._wants_seed:
            await self._seed()
        self._ready = True
        self._write_ready_file()

    def _documents(self, postgres: EmbeddedPostgres) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """What each process is told, by its name; the edge's comes last because it loads the most."""
        dsns = {name: postgres.dsn(database_name(name), service_role(name)) for name in SERVICES}
        yield from service_documents(
            self._data, dsns, self._ports, self._rate_limits, self._withdrawal_address_wait_seconds
        ).items()
        yield "edge", edge_document(self._data, self._http)

    def _service(self, name: str) -> ServiceProgram:
        config_file = self._data.config / f"{name}.yaml"
        command = (sys.executable, "-P", "-m", "cli.main", "serve", name, "--config", str(config_file))
        return ServiceProgram(name, command, self._data.log_file(name), self._environment)

    async def _prepare_databases(self, postgres: EmbeddedPostgres) -> None:
        import asyncpg

        from chassis.db.migrate import MigrationError
        from cli.databases import prepare_databases

        try:
            await prepare_databases(postgres.dsn, SUPERUSER, SERVICES)
        except (MigrationError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            raise CommandFailed(f"the databases cannot be prepared: {error}") from None

    async def _wait_until_ready(self) -> None:
        late = ""
        try:
            async with asyncio.timeout(READY_WITHIN_SECONDS):
                for late in SERVICES:
                    await wait_for_socket(self._data.sockets / f"{late}.sock", self._clock)
                late = "edge"
                await wait_until_ready(self._http, self._clock)
        except TimeoutError:
            log_file = self._data.logs / f"{late}.log"
            raise CommandFailed(
                f"{late} is not ready after {READY_WITHIN_SECONDS:.0f} s; "
                f"it last said {last_message(log_file)!r}, more in {log_file}"
            ) from None

    async def _seed(self) -> None:
        try:
            demo = Demo.read(self._data.demo_file)
        except ValueError:
            raise CommandFailed(
                f"{self._data.demo_file} is spoilt; delete it, and the next start makes another demo"
            ) from None
        header = {"X-PROJECT-API-KEY": demo.project_api_key}
        # Most starts find all done, and need none of what seeding needs.
        if not demo.is_complete or await http_status(self._http, "/api/v1/project", header) != 200:
            demo = await self._complete_seed()
        self._seeded = Seeded(
            demo.project_id, demo.project_api_key, demo.account_id, demo.wallet_id, demo.token_id
        )

    async def _complete_seed(self) -> Demo:
        from chassis.errors import Code, SealgateError
        from cli.operating import explain
        from cli.operator_client import OperatorClient
        from cli.seed import seed_demo

        auth, wallet = (str(Address("127.0.0.1", self._ports[name])) for name in ("auth", "wallet"))
        try:
            async with OperatorClient(self._data, self._clock) as operator:
                return await seed_demo(self._data.demo_file, operator, auth, wallet)
        except SealgateError as error:
            limited = error.code is Code.RATE_LIMITED
            way_out = " Allow more with --rate-limit, or start with --seed none." if limited else ""
            raise CommandFailed(f"the demo cannot be seeded: {explain(error)}{way_out}") from None

    def _write_ready_file(self) -> None:
        names = ("postgres", *SERVICES, "edge")
        if not self._ready or self._ready_file is None or not self._supervisor.pids.keys() >= set(names):
            return
        document = {
            "base_url": f"http://{self._http}",
            "project_id": self._seeded.project_id,
            "project_api_key": self._seeded.project_api_key,
            "account_id": self._seeded.account_id,
            "grpc": {name: str(Address("127.0.0.1", self._ports[name])) for name in SERVICES},
            "metrics": {
                name: f"http://{Address('127.0.0.1', self._ports[port])}/metrics"
                for name, port in METRICS_PORTS.items()
            },
            "pids": {name: self._supervisor.pids[name] for name in names},
        }
        try:
            write_atomically(self._ready_file, json.dumps(document, indent=2) + "\n", mode=0o600)
        except OSError as error:
            complain(f"cannot write {self._ready_file}: {error.strerror}")

    def _greet(self, seconds: float) -> None:
        from cli.greeting import greeting

        grpc_addresses = {name: str(Address("127.0.0.1", self._ports[name])) for name in SERVICES}
        mention(greeting(f"http://{self._http}", grpc_addresses, self._seeded, self._data, seconds))

    async def _bring_down(self) -> None:
        await self._supervisor.stop(_LAST_FIRST)
        if self._ready and self._ready_file is not None:
            self._ready_file.unlink(missing_ok=True)
        self._data.release()
        mention("Stopped.")
