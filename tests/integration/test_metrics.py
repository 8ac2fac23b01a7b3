"""Metrics over a real socket: on their own address, in Prometheus' format, closed in the end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import ssl
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from chassis import metrics
from chassis.clock import SystemClock
from chassis.config import ConfigError, ListenerConfig
from chassis.http_server import listen
from chassis.limits import METRICS_CONNECTIONS_COUNT
from chassis.metrics import MetricsServer, StoreCollector
from chassis.ratelimit import Claim, Limit
from chassis.shared_limits import SharedRateLimiter
from tests.certificates import NAME, Certificates
from tests.store_server import store_server

LOOPBACK = ListenerConfig(address="127.0.0.1:0")


async def fetch(server: MetricsServer, path: str = "/metrics") -> httpx.Response:
    async with httpx.AsyncClient() as http:
        return await http.get(f"http://127.0.0.1:{server.port}{path}")


async def test_metrics_are_served_at_their_path_alone() -> None:
    """What the process itself uses is there even where it shares no limits; anything else is 404."""
    server = MetricsServer(LOOPBACK, [])
    await server.start()
    try:
        answer = await fetch(server)
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        names = {family.name for family in text_string_to_metric_families(answer.text)}
        assert "process_resident_memory_bytes" in names
        assert not any(name.startswith("sealgate_rate_limit") for name in names)
        assert (await fetch(server, "/")).status_code == 404
        assert (await fetch(server, "/metrics/x")).status_code == 404
        async with httpx.AsyncClient() as http:
            posted = await http.post(f"http://127.0.0.1:{server.port}/metrics")
        assert posted.status_code == 404
        # What serves them is nobody's business.
        assert "server" not in answer.headers
    finally:
        await server.stop()
    with pytest.raises(httpx.ConnectError):
        await fetch(server)


async def test_metrics_say_how_the_store_is(caplog: pytest.LogCaptureFixture) -> None:
    """1 while it answers, 0 when it does not, and how often it was done without; no log has the password."""
    caplog.set_level(logging.DEBUG)
    with store_server() as store:
        password = "hunter2hunter2"
        limiter = SharedRateLimiter(
            f"redis://:{password}@127.0.0.1:{store.port}", "test", SystemClock(), refuses=False
        )
        server = MetricsServer(LOOPBACK, [StoreCollector(limiter)])
        await server.start()
        try:
            store.kill()
            for count in (1, 2):
                await limiter.take([Claim(Limit.per_minute("read", 5), "somebody")])
                assert await figures(server) == (0, count)
            # One that asks for no password is not content with being told one.
            store.start("--requirepass", password)
            while not limiter.is_store_up:
                await limiter.watch()
            assert await figures(server) == (1, 2)
            store.kill()
            store.start("--requirepass", "another")
            await limiter.watch()
            assert await figures(server) == (0, 2)
        finally:
            await server.stop()
            await limiter.close()
    assert "rate limit store is away" in caplog.text
    # With what the lines have beside their text.
    said = str([vars(record) for record in caplog.records])
    assert password not in said + repr(limiter.__dict__)
    assert f"127.0.0.1:{store.port}" not in said


async def figures(server: MetricsServer) -> tuple[float, float]:
    """Whether the store is up, and how many decisions were made without it."""
    found = {
        sample.name: sample.value
        for family in text_string_to_metric_families((await fetch(server)).text)
        for sample in family.samples
    }
    return (
        found["sealgate_rate_limit_store_up"],
        found["sealgate_rate_limit_decisions_without_store_total"],
    )


async def test_signals_stay_the_processs() -> None:
    """Who serves metrics has more to do when it is told to stop than to serve no more of them."""
    told = (signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(number) for number in told]
    server = MetricsServer(LOOPBACK, [])
    await server.start()
    try:
        assert [signal.getsignal(number) for number in told] == before
    finally:
        await server.stop()


async def test_head_without_end_is_cut_off() -> None:
    """What a stranger sends costs a fixed amount, and others are served meanwhile."""
    server = MetricsServer(LOOPBACK, [])
    await server.start()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 100_000)
        async with asyncio.timeout(20):
            assert (await reader.read(12)) == b"HTTP/1.1 400"
        assert (await fetch(server)).status_code == 200
        writer.close()
    finally:
        await server.stop()


@pytest.mark.parametrize("after_an_answer", [False, True])
@pytest.mark.parametrize(
    "said", [b"", b"GET /metrics HTTP/1.1\r\nHost: x\r\n"], ids=["silent", "half a head"]
)
async def test_connections_without_a_whole_head_do_not_keep_their_places(
    said: bytes, after_an_answer: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever fills all of them is cut off, also after a first request, and the next is served."""
    monkeypatch.setattr(metrics, "METRICS_HEAD_SECONDS", 1.0)
    monkeypatch.setattr(metrics, "METRICS_IDLE_SECONDS", 1)
    server = MetricsServer(LOOPBACK, [])
    await server.start()
    try:
        async with asyncio.timeout(60):
            opened = [
                await asyncio.open_connection("127.0.0.1", server.port)
                for _ in range(METRICS_CONNECTIONS_COUNT)
            ]
            for reader, writer in opened:
                if after_an_answer:
                    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                    assert await reader.read(9) == b"HTTP/1.1 "
                writer.write(said)
            for reader, writer in opened:
                with contextlib.suppress(ConnectionError):
                    while await reader.read(1024):
                        pass
                writer.close()
            assert (await fetch(server)).status_code == 200
    finally:
        await server.stop()


async def test_connections_beyond_their_number_are_told_to_come_later() -> None:
    """Whatever is open costs a fixed amount; with one place less in use the next is served."""
    server = MetricsServer(LOOPBACK, [])
    await server.start()
    try:
        opened = [
            await asyncio.open_connection("127.0.0.1", server.port) for _ in range(METRICS_CONNECTIONS_COUNT)
        ]
        for reader, writer in opened:
            # An answer, so that each is known to be taken; the last finds no place.
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await reader.readuntil(b"\r\n")
        assert (await fetch(server)).status_code == 503
        for _, writer in opened:
            writer.close()
            await writer.wait_closed()
    finally:
        await server.stop()


async def test_whole_head_in_two_parts_is_answered_and_more_than_one_request() -> None:
    """The connection of an honest caller is kept."""
    server = MetricsServer(LOOPBACK, [])
    await server.start()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        async with asyncio.timeout(20):
            for _ in range(2):
                writer.write(b"GET / HTTP/1.1\r\n")
                await writer.drain()
                writer.write(b"Host: x\r\n\r\n")
                answer = await reader.readuntil(b"GET /metrics\n\r\n0\r\n\r\n")
                assert answer.startswith(b"HTTP/1.1 404")
        writer.close()
    finally:
        await server.stop()


async def test_metrics_beyond_loopback_speak_tls_alone(tmp_path: Path) -> None:
    """With the certificate that is named; plain text gets no answer."""
    certificates = Certificates(tmp_path)
    config = ListenerConfig.model_validate({"address": "0.0.0.0:0", "tls": certificates.tls()})
    server = MetricsServer(config, [])
    await server.start()
    try:
        context = ssl.create_default_context(cafile=certificates.root)
        async with httpx.AsyncClient(verify=context) as http:
            answer = await http.get(f"https://{NAME}:{server.port}/metrics")
        assert "process_resident_memory_bytes" in answer.text
        with pytest.raises(httpx.RemoteProtocolError):
            await fetch(server)
    finally:
        await server.stop()


async def test_taken_address_and_missing_certificate_stop_the_start(tmp_path: Path) -> None:
    """With what is wrong, and nothing is served; an address of our own is as taken as any."""
    with listen("127.0.0.1", 0) as other:
        taken = ListenerConfig(address=f"127.0.0.1:{other.getsockname()[1]}")
        with pytest.raises(ConfigError, match=r"^metrics\.address: 127.*: cannot listen here"):
            await MetricsServer(taken, []).start()
    tls = {"certificate_file": f"{tmp_path}/none.pem", "key_file": f"{tmp_path}/none.key"}
    missing = ListenerConfig.model_validate({"address": "0.0.0.0:0", "tls": tls})
    with pytest.raises(ConfigError, match=r"none\.key"):
        await MetricsServer(missing, []).start()
