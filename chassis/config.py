"""Configuration files: YAML, read strictly; what is wrong is said with its path."""

from __future__ import annotations

import ipaddress
import re
import ssl
from collections.abc import Hashable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from chassis.limits import (
    BAD_CREDENTIALS_PER_MINUTE_COUNT,
    BROWSER_SESSION_PER_MINUTE_COUNT,
    ORDER_PER_MINUTE_COUNT,
    RATE_LIMIT_MAX_PER_MINUTE_COUNT,
    READ_PER_MINUTE_COUNT,
    WRITE_PER_MINUTE_COUNT,
)

_PORT = re.compile(r"[0-9]{1,5}")
_PORT_MAX = 65_535
_DATABASE_PATH = re.compile(r"/?|/[0-9]{1,4}")
# What a socket's address has room for (unix(7)), its closing zero byte excepted.
_SOCKET_PATH_MAX_BYTES = 107
_STORE_SCHEMES = ("redis", "rediss", "valkey", "valkeys")
_AUDIENCE_PATTERN = r"^[a-z0-9.:-]{1,253}$"


class ConfigError(Exception):
    """A configuration that cannot be used: where, and what to do about it."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path
        self.message = message


class StrictModel(BaseModel):
    """A part of a configuration file: unknown members are refused and nothing is changed later."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class TlsConfig(StrictModel):
    """The certificate a listener shows."""

    certificate_file: Path
    key_file: Path

    def check(self) -> None:
        """Raises ConfigError unless both files can be read and belong together."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            # The empty password is for a key that has one: nobody is at hand to be asked for it.
            context.load_cert_chain(self.certificate_file, self.key_file, password="")
        except OSError:
            raise ConfigError(
                str(self.certificate_file),
                f"cannot be used with the key {self.key_file}; both are PEM, without a password, and belong"
                " together",
            ) from None


class ListenerConfig(StrictModel):
    """A TCP listener, `host:port`; beyond loopback it needs TLS."""

    address: str
    tls: TlsConfig | None = None

    def model_post_init(self, context: Any, /) -> None:  # noqa: ANN401  (pydantic's own signature)
        """Refuses a plain-text listener that others than this machine can reach."""
        host, separator, port = self.address.rpartition(":")
        if not separator or not _PORT.fullmatch(port) or int(port) > _PORT_MAX:
            raise ValueError("write it as host:port")
        if self.tls is None and not _is_loopback(host.strip("[]")):
            raise ValueError("a listener beyond loopback needs tls")


class DatabaseConfig(StrictModel):
    """The service's own Postgres database."""

    dsn: str = Field(repr=False)
    pool_size_count: int = Field(default=10, ge=1, le=100)


def _require_unix(target: str) -> str:
    if not target.startswith("unix:"):
        raise ValueError("internal hops go over a Unix socket: write unix:/path")
    if not 0 < len(target.removeprefix("unix:").encode()) <= _SOCKET_PATH_MAX_BYTES:
        raise ValueError(f"the path of a Unix socket has 1 to {_SOCKET_PATH_MAX_BYTES} bytes")
    return target


def check_store_url(text: str) -> str:
    """The URL of a Redis or Valkey server as it was written; raises ValueError saying what is right.

    What is said has nothing of the URL in it, because that can hold a password.
    """
    form = "write redis://HOST:PORT, or rediss://USER:PASSWORD@HOST:PORT/NUMBER with TLS"
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(f"{form}; %-encode what is special in a password, such as / # ? : @") from None
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(f"{form}, without spaces; %-encode them in a password")
    if parts.scheme not in _STORE_SCHEMES:
        raise ValueError(f"{form}; it begins with one of {', '.join(_STORE_SCHEMES)}")
    if not host or port == 0:
        raise ValueError(f"{form}; it names no server")
    if "@" in parts.netloc and not parts.password:
        raise ValueError(f"{form}; the password is missing after the user's name")
    if parts.query or parts.fragment or not _DATABASE_PATH.fullmatch(parts.path):
        raise ValueError(f"{form}; after the port there is at most the number of a database")
    return text


UnixTarget = Annotated[str, AfterValidator(_require_unix)]
StoreUrl = Annotated[str, AfterValidator(check_store_url)]
PerMinuteCount = Annotated[int, Field(ge=1, le=RATE_LIMIT_MAX_PER_MINUTE_COUNT)]


class RateLimitsConfig(StrictModel):
    """Calls that one credential may make in any 60 s, by class.

    The credentials of one account may together make ten times as many. Bad credentials, and bad
    signatures, are counted by client address. All processes that name the same `store` count together.
    """

    read_per_minute_count: PerMinuteCount = READ_PER_MINUTE_COUNT
    write_per_minute_count: PerMinuteCount = WRITE_PER_MINUTE_COUNT
    order_per_minute_count: PerMinuteCount = ORDER_PER_MINUTE_COUNT
    browser_session_per_minute_count: PerMinuteCount = BROWSER_SESSION_PER_MINUTE_COUNT
    bad_credentials_per_minute_count: PerMinuteCount = BAD_CREDENTIALS_PER_MINUTE_COUNT
    store: StoreUrl | None = Field(default=None, repr=False)
    when_store_is_down: Literal["in_process", "refuse"] = "in_process"


class ServiceConfig(StrictModel):
    """What all three services are told."""

    audience: str = Field(pattern=_AUDIENCE_PATTERN)
    database: DatabaseConfig
    public: ListenerConfig
    internal: UnixTarget
    metrics: ListenerConfig | None = None
    rate_limits: RateLimitsConfig = RateLimitsConfig()
    log_level: Literal["debug", "info", "warning", "error"] = "info"


_Model = TypeVar("_Model", bound=BaseModel)


class _RepeatedMemberError(yaml.YAMLError):
    def __init__(self, member: str, line: int) -> None:
        super().__init__(member)
        self.member = member
        self.line = line


class _StrictLoader(yaml.SafeLoader):
    """YAML in which no mapping has a member twice: the last one would win silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """See `yaml.SafeLoader`."""
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise _RepeatedMemberError(key.value, key.start_mark.line + 1)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def load_config(path: Path, model: type[_Model]) -> _Model:
    """Reads a YAML file into `model`; raises ConfigError naming the file and the member at fault."""
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), _StrictLoader)  # noqa: S506  (a SafeLoader)
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read ({error.strerror})") from None
    except _RepeatedMemberError as error:
        raise ConfigError(str(path), f"{error.member}: stands there twice (line {error.line})") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise ConfigError(str(path), "is not a YAML document") from None
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise ConfigError(str(path), first_problem(error)) from None


def first_problem(error: ValidationError) -> str:
    """The first thing wrong in a configuration, as `member.member[0]: what`.

    Where a member is missing, an unknown one beside it is named instead: it may be the same, misspelt.
    """
    problem, *others = error.errors(include_input=False, include_url=False)
    if problem["type"] == "missing":
        beside = [one for one in others if one["loc"][:-1] == problem["loc"][:-1]]
        problem = next((one for one in beside if one["type"] == "extra_forbidden"), problem)
    where = ""
    for part in problem["loc"]:
        where += f"[{part}]" if isinstance(part, int) else f".{part}"
    # Pydantic puts these words in front of what a validator of ours says.
    text = problem["msg"].removeprefix("Value error, ")
    what = "unknown field" if problem["type"] == "extra_forbidden" else text
    return f"{where.lstrip('.') or 'document'}: {what}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
