"""Identifiers."""

from __future__ import annotations

from uuid import RFC_4122, UUID

import pytest

from chassis.clock import SystemClock
from chassis.ids import SystemIds, parse_uuid, uuid7_from
from chassis.testing.fakes import FakeClock

CANONICAL = "0189abcd-ef01-7234-89ab-cdef01234567"


def test_uuid7_is_the_example_of_the_rfc() -> None:
    """RFC 9562 appendix A.6, bit by bit."""
    made = uuid7_from(0x017F22E279B0 * 1_000_000, bytes.fromhex("0CC3" + "18C4DC0C0C07398F"))
    assert made == UUID("017F22E2-79B0-7CC3-98C4-DC0C0C07398F")


def test_uuid7_has_version_and_variant_whatever_the_random_bytes_are() -> None:
    """All ones and all zeros leave the fixed bits alone, and take all of the others."""
    for random_bytes in (bytes(10), b"\xff" * 10):
        made = uuid7_from(0, random_bytes)
        assert (made.version, made.variant) == (7, RFC_4122)
    zeros, ones = uuid7_from(0, bytes(10)).int, uuid7_from(0, b"\xff" * 10).int
    assert (zeros ^ ones).bit_count() == 74


def test_uuid7_keeps_the_time_to_the_millisecond(clock: FakeClock) -> None:
    """The first 48 bits are the milliseconds since 1970, rounded down."""
    clock.advance_ns(999_999)
    assert SystemIds(clock).uuid7().int >> 80 == clock.now_ns() // 1_000_000
    clock.advance_ns(1)
    assert SystemIds(clock).uuid7().int >> 80 == clock.now_ns() // 1_000_000


def test_uuid7_sorts_by_time_over_a_thousand_milliseconds(clock: FakeClock) -> None:
    """Text and bytes of a later millisecond are greater, so rows sort by age."""
    ids = SystemIds(clock)
    made = []
    for _ in range(1000):
        made.append(ids.uuid7())
        clock.advance_ns(1_000_000)
    assert made == sorted(made)
    assert [str(item) for item in made] == sorted(str(item) for item in made)


def test_ids_and_seeds_never_repeat_when_time_stands_still(clock: FakeClock) -> None:
    """Within one millisecond 74 random bits keep ids apart."""
    ids = SystemIds(clock)
    assert len({ids.uuid7() for _ in range(10_000)}) == 10_000
    seeds = {ids.seed() for _ in range(1000)}
    assert len(seeds) == 1000
    assert {len(seed) for seed in seeds} == {32}


def test_system_clock_is_in_nanoseconds_and_its_ids_are_of_now() -> None:
    """Wall time is after 2024 and before 2100; the monotonic clock does not go back."""
    clock = SystemClock()
    assert 1_704_067_200 < clock.now_ns() / 1e9 < 4_102_444_800
    assert clock.monotonic_ns() <= clock.monotonic_ns()
    assert abs((SystemIds(clock).uuid7().int >> 80) - clock.now_ns() // 1_000_000) < 60_000


def test_parse_uuid_reads_the_canonical_form() -> None:
    """Lower-case hexadecimal with four hyphens."""
    assert parse_uuid(CANONICAL) == UUID(CANONICAL)
    assert parse_uuid("00000000-0000-0000-0000-000000000000") == UUID(int=0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        CANONICAL.upper(),
        CANONICAL.replace("abcd", "ABCD"),
        "{" + CANONICAL + "}",
        "urn:uuid:" + CANONICAL,
        CANONICAL.replace("-", ""),
        CANONICAL + "0",
        CANONICAL[:-1],
        CANONICAL + "\n",
        " " + CANONICAL,
        CANONICAL.replace("-", "_"),
        CANONICAL.replace("0", "g"),
        CANONICAL.replace("0", "\N{ARABIC-INDIC DIGIT ZERO}"),
        "0189abcdef01-7234-89ab-cdef-01234567",
    ],
)
def test_parse_uuid_refuses_every_other_form(text: str) -> None:
    """One identifier has one name; Python's own parser takes several."""
    assert parse_uuid(text) is None
