"""Configuration files: strict, and clear about what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from chassis.config import ConfigError, ServiceConfig, load_config

PASSWORD = "hunter2"


def document() -> dict[str, Any]:
    """A configuration that is right."""
    return {
        "audience": "sealgate.example",
        "database": {"dsn": f"postgresql://sealgate:{PASSWORD}@db/auth", "pool_size_count": 5},
        "public": {"address": "127.0.0.1:9001"},
        "internal": "unix:/run/sealgate/auth.sock",
    }


def load(tmp_path: Path, content: object) -> ServiceConfig:
    """Loads what a file with this content says."""
    path = tmp_path / "service.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return load_config(path, ServiceConfig)


def problem(tmp_path: Path, change: Callable[[dict[str, Any]], object]) -> str:
    """What is said about a configuration after one change; never the password."""
    content = document()
    change(content)
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, content)
    assert raised.value.path == str(tmp_path / "service.yaml")
    assert str(raised.value) == f"{raised.value.path}: {raised.value.message}"
    assert PASSWORD not in str(raised.value)
    assert raised.value.__cause__ is None
    return raised.value.message


def test_configuration_is_read_when_it_is_right(tmp_path: Path) -> None:
    """Every member arrives, and what is left out has its default."""
    config = load(tmp_path, document())
    assert (config.audience, config.internal) == ("sealgate.example", "unix:/run/sealgate/auth.sock")
    assert (config.database.pool_size_count, config.log_level) == (5, "info")
    assert config.public.tls is None


def test_dsn_is_not_printed_when_a_configuration_is(tmp_path: Path) -> None:
    """A configuration in a log line by accident has no password in it."""
    config = load(tmp_path, document())
    assert PASSWORD not in f"{config} {config!r} {config.database!r}"
    assert PASSWORD in config.database.dsn


def set_to(path: str, value: object) -> Callable[[dict[str, Any]], object]:
    """A change that sets the member at a dotted path."""

    def change(content: dict[str, Any]) -> None:
        *parents, last = path.split(".")
        for parent in parents:
            content = content[parent]
        content[last] = value

    return change


@pytest.mark.parametrize(
    "path",
    ["unknown", "database.unknown", "public.unknown", "public.tls.unknown", "rate_limits.reads_count"],
)
def test_unknown_member_is_refused_with_its_path(tmp_path: Path, path: str) -> None:
    """A misspelt member is an error and not a default."""

    def change(content: dict[str, Any]) -> None:
        content["public"]["tls"] = {"certificate_file": "/c", "key_file": "/k"}
        content["rate_limits"] = {}
        set_to(path, PASSWORD)(content)

    assert problem(tmp_path, change) == f"{path}: unknown field"


@pytest.mark.parametrize(
    "path", ["audience", "database", "database.dsn", "public", "public.address", "internal"]
)
def test_missing_member_is_named_by_its_path(tmp_path: Path, path: str) -> None:
    """What must be there is asked for by name."""

    def change(content: dict[str, Any]) -> None:
        *parents, last = path.split(".")
        for parent in parents:
            content = content[parent]
        del content[last]

    assert problem(tmp_path, change) == f"{path}: Field required"


@pytest.mark.parametrize("count", [0, -1, 1_000_001])
def test_rate_limit_out_of_its_bounds_is_refused(tmp_path: Path, count: int) -> None:
    """A limit of nothing would be a service that is off, and one without bounds none."""

    def change(content: dict[str, Any]) -> None:
        content["rate_limits"] = {"order_per_minute_count": count}

    assert problem(tmp_path, change).startswith("rate_limits.order_per_minute_count: Input should be ")


def test_misspelt_member_is_named_rather_than_the_one_that_is_then_missing(tmp_path: Path) -> None:
    """What somebody wrote is what they look for."""

    def misspell(content: dict[str, Any]) -> None:
        content["adience"] = content.pop("audience")

    assert problem(tmp_path, misspell) == "adience: unknown field"


def test_complaint_is_in_our_words_alone(tmp_path: Path) -> None:
    """The library's own prefix is left away."""
    assert problem(tmp_path, set_to("public.address", "9001")) == "public: write it as host:port"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("audience", ""),
        ("audience", "Has Spaces"),
        ("audience", 5),
        ("audience", "a" * 254),
        ("database", PASSWORD),
        ("database.dsn", [PASSWORD]),
        ("database.pool_size_count", 0),
        ("database.pool_size_count", 101),
        ("database.pool_size_count", PASSWORD),
        ("log_level", PASSWORD),
        ("public", None),
        ("public.address", 9001),
        ("internal", ["unix:/x"]),
    ],
)
def test_wrong_value_is_refused_with_its_path_and_without_itself(
    tmp_path: Path, path: str, value: object
) -> None:
    """The text says where, and does not repeat what may be a secret."""
    assert problem(tmp_path, set_to(path, value)).startswith(f"{path}: ")


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0:9001",
        "[::]:9001",
        ":9001",
        "192.168.1.5:9001",
        "10.0.0.1:9001",
        "example.com:9001",
        "localhost.example.com:9001",
        "127.0.0.1.example.com:9001",
        "127.1:9001",
        "128.0.0.1:9001",
        "*:9001",
    ],
)
def test_listener_beyond_loopback_is_refused_without_tls(tmp_path: Path, address: str) -> None:
    """Credentials never cross a network in plain text, by configuration neither."""
    assert "loopback needs tls" in problem(tmp_path, set_to("public.address", address))


@pytest.mark.parametrize("address", ["127.0.0.1:9001", "127.8.8.8:9001", "[::1]:9001", "localhost:0"])
def test_listener_on_loopback_needs_no_tls(tmp_path: Path, address: str) -> None:
    """One machine is its own network."""
    content = document()
    content["public"]["address"] = address
    assert load(tmp_path, content).public.address == address


def test_listener_beyond_loopback_is_taken_with_tls(tmp_path: Path) -> None:
    """With a certificate any address will do."""
    content = document()
    content["public"] = {
        "address": "0.0.0.0:9001",
        "tls": {"certificate_file": "/tls/crt", "key_file": "/tls/key"},
    }
    tls = load(tmp_path, content).public.tls
    assert tls is not None
    assert tls.key_file == Path("/tls/key")


@pytest.mark.parametrize(
    "address", ["", "127.0.0.1", "9001", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:-1", "127.0.0.1:65536"]
)
def test_listener_is_refused_when_its_address_has_no_port(tmp_path: Path, address: str) -> None:
    """`host:port` and nothing else, the port one that exists."""
    assert problem(tmp_path, set_to("public.address", address)).startswith("public")


@pytest.mark.parametrize(
    "target",
    [
        "",
        "/run/auth.sock",
        "127.0.0.1:9001",
        "tcp:127.0.0.1:1",
        "http://x",
        "dns:x",
        "unix:",
        "UNIX:/x",
        "unix:/" + "x" * 107,
    ],
)
def test_internal_listener_is_refused_when_it_is_no_unix_socket(tmp_path: Path, target: str) -> None:
    """Passports travel over Unix sockets only, until there is mutual TLS."""
    assert problem(tmp_path, set_to("internal", target)).startswith("internal: ")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "just text",
        "- a\n- list",
        "{",
        "a: b: c",
        "\x00",
        "!!python/object:os.system {}",
        "a: &x [*x]\n*x",
        "2026-99-99",
        "[" * 1_000,
    ],
)
def test_file_is_refused_when_it_is_no_configuration(tmp_path: Path, text: str) -> None:
    """Anything in the file ends in one line with the file's name."""
    path = tmp_path / "service.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as raised:
        load_config(path, ServiceConfig)
    assert raised.value.path == str(path)
    assert "\n" not in str(raised.value)


def test_file_is_refused_when_it_is_not_text(tmp_path: Path) -> None:
    """Bytes that are no UTF-8 are no YAML."""
    path = tmp_path / "service.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError):
        load_config(path, ServiceConfig)


def test_file_is_refused_when_it_is_not_there(tmp_path: Path) -> None:
    """The path that was given is in the message."""
    with pytest.raises(ConfigError, match="No such file") as raised:
        load_config(tmp_path / "missing.yaml", ServiceConfig)
    assert raised.value.path.endswith("missing.yaml")


def test_file_is_refused_when_a_member_stands_in_it_twice(tmp_path: Path) -> None:
    """Of two values that contradict each other neither wins silently."""
    path = tmp_path / "service.yaml"
    for text, member in (("internal: unix:/other.sock\n", "internal"), ("x: {a: 1, 'a': 2}\n", "a")):
        path.write_text(yaml.safe_dump(document()) + text, encoding="utf-8")
        with pytest.raises(ConfigError, match=f"{member}: stands there twice"):
            load_config(path, ServiceConfig)


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1:6379",
        "redis://store/3",
        "rediss://user:p%40ss%2Fw@store.example:6380/0",
        "valkey://:secret@[::1]:6379",
        "valkeys://user:secret@store",
    ],
)
def test_store_of_rate_limits_is_taken_as_it_is_written(tmp_path: Path, url: str) -> None:
    """Redis and Valkey, with and without TLS; what it says is never printed."""
    content = document()
    content["rate_limits"] = {"store": url, "when_store_is_down": "refuse"}
    limits = load(tmp_path, content).rate_limits
    assert (limits.store, limits.when_store_is_down) == (url, "refuse")
    assert url not in f"{limits} {limits!r} {load(tmp_path, content)!r}"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (f"http://:{PASSWORD}@store", "begins with one of redis, rediss, valkey, valkeys"),
        (f":{PASSWORD}@store:6379", "begins with one of"),
        ("", "begins with one of"),
        ("unix:///run/valkey.sock", "begins with one of"),
        ("redis://", "names no server"),
        (f"redis://:{PASSWORD}@:6379", "names no server"),
        ("redis://store:0", "names no server"),
        ("redis://user@store", "the password is missing"),
        ("redis://user:@store", "the password is missing"),
        ("redis://:@store", "the password is missing"),
        (f"redis://:{PASSWORD}/x@store", "%-encode"),
        (f"redis://:{PASSWORD}#x@store", "%-encode"),
        (f"redis://:{PASSWORD}@store:port", "%-encode"),
        (f"redis://:{PASSWORD}@store:70000", "%-encode"),
        (f"redis://:{PASSWORD} x@store", "without spaces"),
        (f"redis://:{PASSWORD}\n@store", "without spaces"),
        (f"redis://:{PASSWORD}@store/zero", "at most the number of a database"),
        (f"redis://:{PASSWORD}@store/0?ssl_cert_reqs=none", "at most the number of a database"),
        (f"redis://:{PASSWORD}@store#0", "at most the number of a database"),
    ],
)
def test_bad_store_is_refused_with_what_is_right(tmp_path: Path, url: str, words: str) -> None:
    """It says what to write, and nothing of what was written: `problem` looks for the password."""
    said = problem(tmp_path, lambda content: content.update(rate_limits={"store": url}))
    assert said.startswith("rate_limits.store: write redis://HOST:PORT")
    assert words in said


def test_unknown_mode_without_the_store_is_refused(tmp_path: Path) -> None:
    """What holds when the store is down is one of two words."""
    said = problem(tmp_path, lambda content: content.update(rate_limits={"when_store_is_down": "allow"}))
    assert said == "rate_limits.when_store_is_down: Input should be 'in_process' or 'refuse'"


def test_metrics_beyond_loopback_need_tls(tmp_path: Path) -> None:
    """As every other listener does."""
    said = problem(tmp_path, lambda content: content.update(metrics={"address": "0.0.0.0:9100"}))
    assert said == "metrics: a listener beyond loopback needs tls"
