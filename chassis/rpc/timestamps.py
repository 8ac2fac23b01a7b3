"""Nanoseconds, in which everything counts inside, as the timestamps of messages."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from chassis.clock import NANOSECONDS_PER_SECOND


def timestamp(at_ns: int) -> Timestamp:
    """A time in Unix nanoseconds as a message, exactly."""
    seconds, nanos = divmod(at_ns, NANOSECONDS_PER_SECOND)
    return Timestamp(seconds=seconds, nanos=nanos)


def timestamp_or_none(at_ns: int | None) -> Timestamp | None:
    """As `timestamp`; None stays None, which a message leaves out."""
    return None if at_ns is None else timestamp(at_ns)
