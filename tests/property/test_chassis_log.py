"""Log lines: one JSON object each, whatever is logged."""

from __future__ import annotations

import json
import logging

from hypothesis import given, settings
from hypothesis import strategies as st

from chassis.log import JsonFormatter, redact
from chassis.secrets import ApiKeyPair

TEXTS = st.text(st.characters())
ARGUMENTS = st.one_of(TEXTS, st.integers(), st.floats(), st.binary(), st.none(), st.builds(ValueError, TEXTS))


@settings(deadline=None)
@given(
    name=st.sampled_from(["chassis.rpc", "grpc", "asyncio"]),
    message=TEXTS,
    arguments=st.lists(ARGUMENTS, max_size=3),
    fields=st.dictionaries(st.sampled_from(["a", "b", "method"]), ARGUMENTS),
)
def test_any_record_is_one_line_of_json(
    name: str, message: str, arguments: list[object], fields: dict[str, object]
) -> None:
    """One line, ASCII, readable by a strict JSON reader, with a message."""
    record = logging.LogRecord(name, logging.INFO, "x.py", 1, message, tuple(arguments), None)
    record.sealgate_fields = fields
    line = JsonFormatter("auth").format(record)
    assert line.isascii()
    assert len(line.splitlines()) == 1
    read = json.loads(line, parse_constant=lambda constant: 1 / 0)
    assert isinstance(read["message"], str)
    assert set(fields) <= set(read)


@settings(deadline=None)
@given(seed=st.binary(min_size=32, max_size=32), before=TEXTS, after=TEXTS)
def test_secret_is_blanked_in_any_text(seed: bytes, before: str, after: str) -> None:
    """A key does not pass, whatever stands around it."""
    secret = ApiKeyPair.from_seed(seed).secret_text
    assert secret[3:] not in redact(before + secret + after)
