"""The directory that holds everything of one local stack, claimed by one process at a time."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cli.network import bind_or_none

MARKER: Final = "SEALGATE_DATA"
LAYOUT_VERSION: Final = "1"
# struct sockaddr_un holds 108 bytes, the last of which ends the path.
SOCKET_PATH_MAX_BYTES: Final = 107
# The longest name put below each of the two socket directories.
LONGEST_SOCKET_NAME: Final = ".s.PGSQL.65535.lock"
_PLAIN_PATH: Final = re.compile(r"[\w/.,+@ -]+")
LOG_MAX_BYTES: Final = 10 * 1024 * 1024


class DataDirectoryError(Exception):
    """A directory that cannot be used; the text says why and what to do."""


class DataDirectory:
    """Names of everything below one data directory; `claim` makes it ours."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self._lock: int | None = None
        self._temporary: list[Path] = []

    @property
    def postgres(self) -> Path:
        """The database cluster."""
        return self.root / "postgres"

    @property
    def config(self) -> Path:
        """The services' configuration files."""
        return self.root / "config"

    @property
    def keys(self) -> Path:
        """The private signing keys, one directory a purpose."""
        return self.root / "keys"

    @property
    def logs(self) -> Path:
        """One log file a process."""
        return self.root / "logs"

    @property
    def demo_file(self) -> Path:
        """The demo seed's credentials, of mode 0600."""
        return self.root / "demo.json"

    @property
    def sockets(self) -> Path:
        """The services' sockets; resolved, because a long path makes it a link to a short one."""
        return (self.root / "sockets").resolve()

    @property
    def postgres_sockets(self) -> Path:
        """The cluster's socket, apart because the cluster may run as another user; resolved too."""
        return (self.root / "postgres-sockets").resolve()

    def socket_target(self, service: str) -> str:
        """The gRPC target of a service's internal listener."""
        return f"unix:{self.sockets / f'{service}.sock'}"

    def check_marker(self) -> None:
        """Raises DataDirectoryError unless a stack has been made here."""
        # As Path.is_file, but False as well for a name that no file can have.
        if not os.path.isfile(self.root / MARKER):  # noqa: PTH113
            raise DataDirectoryError(
                f"{self.root} is not a Sealgate data directory; give the one of `sealgate up` with --data"
            )

    def claim(self) -> None:
        """Makes the directory, or takes the existing one, until this process ends.

        Raises DataDirectoryError when it is foreign, in use or not writable.
        """
        try:
            self._make_root()
            self._take_lock()
            # First of all, so that a start that is cut short leaves nothing that looks foreign.
            (self.root / MARKER).write_text(LAYOUT_VERSION + "\n", encoding="ascii")
            for path in (self.config, self.keys, self.logs):
                path.mkdir(mode=0o700, exist_ok=True)
            self._place_sockets(self.root / "sockets")
            # Postgres makes the other one, for the user that it runs as.
            self._place_sockets(self.root / "postgres-sockets")
            self.sockets.mkdir(mode=0o700, exist_ok=True)
            for stale in self.sockets.iterdir():
                stale.unlink()
        except OSError as error:
            raise DataDirectoryError(f"cannot write to {self.root}: {error.strerror}") from error

    def _make_root(self) -> None:
        try:
            # Postgres refuses to run as root; its own user has to get through to the cluster.
            self.root.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True)
        except FileExistsError:
            if not self.root.is_dir():
                raise DataDirectoryError(f"{self.root} is a file, not a directory") from None
        marker = self.root / MARKER
        if marker.is_file():
            version = marker.read_text(encoding="ascii", errors="replace").strip()
            if version != LAYOUT_VERSION:
                raise DataDirectoryError(f"{self.root} has layout {version!r}, not {LAYOUT_VERSION}")
        elif not {entry.name for entry in self.root.iterdir()} <= {"lock"}:
            raise DataDirectoryError(
                f"{self.root} holds other files and no {MARKER}; name an empty or new directory with --data"
            )

    def _take_lock(self) -> None:
        self._lock = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(self._lock, 32, 0).decode("ascii", errors="replace").strip()
            whose = f" by process {owner}" if owner else ""
            raise DataDirectoryError(
                f"{self.root} is in use{whose}; stop that stack or name another directory with --data"
            ) from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode("ascii"), 0)

    def _place_sockets(self, path: Path) -> None:
        """Sees to it that sockets below `path`, resolved, have names that every part can use.

        A `path` that is too long for them, or has characters that mean something in gRPC's targets,
        becomes a link into a fresh private directory among the temporary ones; never into that of last
        time, which anybody could have put there since.
        """
        if path.is_symlink():
            path.unlink()
        length_bytes = len(os.fsencode(path / LONGEST_SOCKET_NAME))
        if length_bytes > SOCKET_PATH_MAX_BYTES or not _PLAIN_PATH.fullmatch(str(path)):
            self._temporary.append(Path(tempfile.mkdtemp(prefix="sealgate-")))
            path.symlink_to(self._temporary[-1] / path.name)

    def release(self) -> None:
        """Gives the directory back before this process ends; what was made elsewhere goes away."""
        while self._temporary:
            shutil.rmtree(self._temporary.pop(), ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def log_file(self, name: str) -> Path:
        """The log file of a process; one that has grown large is put aside first."""
        path = self.logs / f"{name}.log"
        if path.exists() and path.stat().st_size > LOG_MAX_BYTES:
            path.replace(path.with_suffix(".log.1"))
        return path

    def ports(self, host: str, names: tuple[str, ...]) -> dict[str, int]:
        """A free port on `host` for every name: the one of last time where it is still free."""
        remembered = self._remembered_ports()
        chosen: dict[str, int] = {}
        with contextlib.ExitStack() as held:
            for name in names:
                listener = bind_or_none(host, remembered.get(name, 0)) or bind_or_none(host, 0)
                if listener is None:
                    raise DataDirectoryError(f"no free port on {host}")
                held.enter_context(listener)
                chosen[name] = listener.getsockname()[1]
        write_atomically(self.root / "ports.json", json.dumps(chosen) + "\n", mode=0o600)
        return chosen

    def _remembered_ports(self) -> Mapping[str, int]:
        try:
            document = json.loads((self.root / "ports.json").read_text(encoding="ascii"))
        except (OSError, ValueError):
            return {}
        if not isinstance(document, dict):
            return {}
        return {name: port for name, port in document.items() if isinstance(port, int) and 0 < port < 1 << 16}


def write_atomically(path: Path, text: str, *, mode: int) -> None:
    """Puts `text` in place of a file's contents so that no reader ever sees a part of it."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), mode)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
