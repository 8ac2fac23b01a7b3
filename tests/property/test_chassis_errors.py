"""Errors over the wire: nothing is lost of ours, and nothing foreign breaks us."""

from __future__ import annotations

import grpc
from hypothesis import given, settings
from hypothesis import strategies as st

from chassis.errors import Code, Detail, SealgateError
from chassis.rpc.errors import STATUS_DETAILS_KEY, error_from_rpc, status_from_error

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=100)
DETAILS = st.lists(st.builds(Detail, TEXTS, TEXTS), max_size=16)
STATUSES = st.sampled_from(list(grpc.StatusCode))


def failure(status: grpc.StatusCode, *trailing: tuple[str, str | bytes]) -> grpc.aio.AioRpcError:
    """What a client sees of a peer's answer."""
    return grpc.aio.AioRpcError(status, grpc.aio.Metadata(), grpc.aio.Metadata(*trailing))


@settings(deadline=None)
@given(
    code=st.sampled_from(Code),
    details=DETAILS,
    pause=st.none() | st.integers(1, 2**40),
    status=STATUSES,
)
def test_error_is_the_same_after_its_way_over_the_wire(
    code: Code, details: list[Detail], pause: int | None, status: grpc.StatusCode
) -> None:
    """Code, details and pause arrive, whatever the bare status beside them says."""
    sent = SealgateError(code, details=details, internal="ours alone", retry_after_seconds=pause)
    serialized = status_from_error(sent).SerializeToString()
    arrived = error_from_rpc(failure(status, (STATUS_DETAILS_KEY, serialized)), "/a.B/C")
    assert (arrived.code, arrived.details) == (code, tuple(details))
    assert arrived.retry_after_seconds == sent.retry_after_seconds
    assert pause in (None, arrived.retry_after_seconds)
    assert arrived.internal == ""


@settings(deadline=None)
@given(
    code=st.sampled_from(Code),
    details=DETAILS,
    changes=st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 255)), min_size=1, max_size=8),
    status=STATUSES,
)
def test_garbled_status_never_fails(
    code: Code, details: list[Detail], changes: list[tuple[int, int]], status: grpc.StatusCode
) -> None:
    """Damaged details become some error of the table, with a bounded number of details."""
    serialized = bytearray(status_from_error(SealgateError(code, details=details)).SerializeToString())
    for place, flip in changes:
        serialized[place % len(serialized)] ^= flip
    arrived = error_from_rpc(failure(status, (STATUS_DETAILS_KEY, bytes(serialized))), "/a.B/C")
    assert arrived.code in Code
    assert len(arrived.details) <= 16
    status_from_error(arrived).SerializeToString()


@settings(deadline=None)
@given(
    trailing=st.lists(
        st.tuples(st.sampled_from([STATUS_DETAILS_KEY, "x-other", "grpc-message"]), st.binary() | st.text()),
        max_size=4,
    ),
    status=STATUSES,
)
def test_foreign_metadata_never_fail(
    trailing: list[tuple[str, str | bytes]], status: grpc.StatusCode
) -> None:
    """Whatever stands in trailing metadata, the bare status decides."""
    arrived = error_from_rpc(failure(status, *trailing), "/a.B/C")
    assert arrived.code in {Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.INTERNAL}
