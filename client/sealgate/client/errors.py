"""What a call of the client can raise. The classes of the server's refusals are in `refusals.py`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

REFUSED_FOR_GOOD: Final = "The platform refused the request, for good."
"""What is said of a refusal on record that has nothing more to say of itself."""


@dataclass(frozen=True, slots=True)
class RateLimit:
    """What the limit that counted a call says of itself."""

    limit: int
    """So many calls a minute."""
    remaining: int
    """So many are left."""
    resets_at: datetime
    """When the next one becomes free, to the second."""

    @classmethod
    def from_headers(cls, headers: Mapping[str, str]) -> RateLimit | None:
        """Reads an answer's `X-RateLimit-…` headers, of lower-case names; None when there are none."""
        try:
            limit, remaining, resets_at = (
                int(headers[f"x-ratelimit-{name}"]) for name in ("limit", "remaining", "reset")
            )
            return cls(limit, remaining, datetime.fromtimestamp(resets_at, UTC))
        except (KeyError, ValueError, OverflowError, OSError):
            return None


@dataclass(frozen=True, slots=True)
class Detail:
    """One thing wrong with a request: where (`amount`, `metadata.name`) and what."""

    path: str
    message: str

    def __str__(self) -> str:
        text = f"{self.path}: {self.message}" if self.path else self.message
        return text if text.endswith(".") else f"{text}."


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that is known of a call that failed; nothing in it is secret."""

    operation: str
    """What was called, such as `place_order`."""
    message: str
    """What went wrong, as a sentence."""
    code: str | None = None
    """The server's code, such as `INSUFFICIENT_BALANCE`; None when the server did not say."""
    status: int | None = None
    """The HTTP status; None when there was no answer."""
    details: tuple[Detail, ...] = ()
    """Which fields are wrong, and how."""
    request_id: str | None = None
    """Quote it to whoever runs the platform: its logs have it too."""
    retry_after_seconds: int | None = None
    """When a repeat makes sense."""
    rate_limit: RateLimit | None = None
    """The limit that counted the call."""
    attempts_count: int = 1
    """How often the request was sent."""
    maybe_done: bool = False
    """Whether this attempt, or one before whose answer was lost, may have taken effect."""


class SealgateError(Exception):
    """A call that did not succeed; the base of everything that the client's methods raise."""

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self.facts = facts

    def __str__(self) -> str:
        facts = self.facts
        said = " ".join((facts.message, *map(str, facts.details)))
        text = ": ".join(part for part in (facts.operation, facts.code, said) if part)
        return text if facts.request_id is None else f"{text} (request id {facts.request_id})"

    @property
    def code(self) -> str | None:
        """See `Facts.code`."""
        return self.facts.code

    @property
    def message(self) -> str:
        """See `Facts.message`."""
        return self.facts.message

    @property
    def details(self) -> tuple[Detail, ...]:
        """See `Facts.details`."""
        return self.facts.details

    @property
    def request_id(self) -> str | None:
        """See `Facts.request_id`."""
        return self.facts.request_id

    @property
    def status(self) -> int | None:
        """See `Facts.status`."""
        return self.facts.status

    @property
    def retry_after_seconds(self) -> int | None:
        """See `Facts.retry_after_seconds`."""
        return self.facts.retry_after_seconds

    @property
    def rate_limit(self) -> RateLimit | None:
        """See `Facts.rate_limit`."""
        return self.facts.rate_limit

    @property
    def maybe_done(self) -> bool:
        """See `Facts.maybe_done`."""
        return self.facts.maybe_done


class TransportError(SealgateError):
    """No answer came: the server could not be reached, or not in time."""


class UnexpectedAnswerError(SealgateError):
    """An answer came that Sealgate does not give: of something in between, or of another version."""


class RequestRefused(SealgateError):  # noqa: N818 - said of the request, whose outcome it is
    """A signed request was carried to its end, and that is a refusal: `code` is its status.

    Raised by `raise_for_status` of an outcome, and by nothing else.
    """

    def __str__(self) -> str:
        facts = self.facts
        if not facts.details or facts.message != REFUSED_FOR_GOOD:
            return super().__str__()
        # The reasons say all: what goes for every refusal would only be in their way.
        first, *further = facts.details
        reasons = dataclasses.replace(facts, message=str(first), details=tuple(further))
        return str(SealgateError(reasons))
