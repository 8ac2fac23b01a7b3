"""New markets: what an operator can say about one."""

from __future__ import annotations

import re
import unicodedata
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from chassis.errors import Code, SealgateError, invalid
from chassis.ids import parse_uuid
from chassis.limits import NAME_MAX_CHARACTERS
from services.wallet.domain.market import Terms

DEFAULT_LEFT_OUTCOME: Final = "Yes"
DEFAULT_RIGHT_OUTCOME: Final = "No"

_TITLE_MAX_CHARACTERS: Final = 256
_DESCRIPTION_MAX_CHARACTERS: Final = 4096
_TAGS_COUNT: Final = 16
_SLUG_MAX_CHARACTERS: Final = 128

_NOT_OF_SLUG: Final = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class NewMarket:
    """A market to be made, in the event `event_id` or in a new one of title and tags."""

    event_id: uuid.UUID | None
    event_title: str
    tags: tuple[str, ...]
    question: str
    outcome: str
    description: str
    left_outcome: str
    right_outcome: str
    terms: Terms
    ends_at_ns: int | None

    @property
    def slug(self) -> str:
        """The question as it stands in addresses."""
        return slug_of(self.question)

    @property
    def event_slug(self) -> str:
        """The event's title as it stands in addresses."""
        return slug_of(self.event_title)


def read_new_market(
    *,
    event_id: str | None,
    event_title: str | None,
    tags: Sequence[str],
    question: str,
    outcome: str,
    description: str,
    left_outcome: str | None,
    right_outcome: str | None,
    terms: Terms,
    ends_at_ns: int | None,
) -> NewMarket:
    """A market to be made; what is absent gets its default.

    Raises VALIDATION_ERROR about texts that are too long, have control characters or do not go
    together, and EVENT_NOT_FOUND for an `event_id` that cannot be one.
    """
    _check_text(question, "question", 1, _TITLE_MAX_CHARACTERS)
    _check_text(outcome, "outcome", 0, NAME_MAX_CHARACTERS)
    _check_text(description, "description", 0, _DESCRIPTION_MAX_CHARACTERS)
    left = DEFAULT_LEFT_OUTCOME if left_outcome is None else left_outcome
    right = DEFAULT_RIGHT_OUTCOME if right_outcome is None else right_outcome
    _check_text(left, "left_outcome", 1, NAME_MAX_CHARACTERS)
    _check_text(right, "right_outcome", 1, NAME_MAX_CHARACTERS)
    if left == right:
        raise invalid("right_outcome", "must differ from the left one")
    if event_id is not None:
        for path, present in (("event_title", event_title is not None), ("tags", bool(tags))):
            if present:
                raise invalid(path, "is only for a new event")
    title = question if event_title is None else event_title
    _check_text(title, "event_title", 1, _TITLE_MAX_CHARACTERS)
    if len(tags) > _TAGS_COUNT:
        raise invalid("tags", f"must be at most {_TAGS_COUNT}")
    for number, tag in enumerate(tags):
        _check_text(tag, f"tags[{number}]", 1, NAME_MAX_CHARACTERS)
    return NewMarket(
        event_id=None if event_id is None else _event_id_of(event_id),
        event_title=title,
        tags=tuple(tags),
        question=question,
        outcome=outcome,
        description=description,
        left_outcome=left,
        right_outcome=right,
        terms=terms,
        ends_at_ns=ends_at_ns,
    )


def slug_of(text: str) -> str:
    """`text` in lower-case ASCII letters, digits and `-`; empty for a text that has none of them."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return _NOT_OF_SLUG.sub("-", plain).strip("-")[:_SLUG_MAX_CHARACTERS].rstrip("-")


def _event_id_of(text: str) -> uuid.UUID:
    event_id = parse_uuid(text)
    if event_id is None:
        raise SealgateError(Code.EVENT_NOT_FOUND)
    return event_id


def _check_text(text: str, path: str, min_characters: int, max_characters: int) -> None:
    if not min_characters <= len(text) <= max_characters:
        raise invalid(path, f"must have {min_characters} to {max_characters} characters")
    # Line breaks have their place in a description, and nowhere else.
    allowed = "\n" if path == "description" else ""
    if any(unicodedata.category(character).startswith("C") for character in text if character not in allowed):
        raise invalid(path, "must not have control characters")
