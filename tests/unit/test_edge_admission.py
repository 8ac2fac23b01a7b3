"""The bound on requests in flight."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from chassis.errors import Code, SealgateError
from edge.admission import Admission


def test_admission_refuses_when_it_is_full_and_admits_again_after() -> None:
    """As many as were agreed are let in, one more is told to come back, and a free place is given anew."""
    admission = Admission(2)
    with ExitStack() as inside:
        inside.enter_context(admission)
        inside.enter_context(admission)
        with pytest.raises(SealgateError) as refused, admission:
            pytest.fail("there was no place")
        assert (refused.value.code, refused.value.retry_after_seconds) == (Code.OVERLOADED, 1)
    with admission:
        pass


def test_admission_gives_the_place_back_when_a_request_fails() -> None:
    """A request that ends badly leaves its place as one that ends well."""
    admission = Admission(1)
    for _ in range(3):
        with pytest.raises(ValueError, match="broken"), admission:
            raise ValueError("broken")
