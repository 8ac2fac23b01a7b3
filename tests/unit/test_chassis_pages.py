"""Which page a credential works from, to the letter."""

from __future__ import annotations

import pytest

from chassis.rpc.pages import is_listed

PAGE = "https://shop.example"


def test_page_is_listed_or_not_without_a_request_being_served() -> None:
    """It is a question: what a page may read is another, and nothing of an answer is changed by asking."""
    assert is_listed(PAGE, [PAGE])


@pytest.mark.parametrize("origin", [None, "", "null", "https://shop.example:443", "HTTPS://shop.example"])
def test_nothing_but_the_listed_origin_to_the_letter_is_listed(origin: str | None) -> None:
    """A server is no page, and an opaque origin is nobody's, even where it was written down."""
    assert not is_listed(origin, [PAGE, "null"])
