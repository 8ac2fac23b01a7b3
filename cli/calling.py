"""What the commands of session keys ask a running platform, and what they say when it does not do it.

Imported only by a command that runs: the client is heavy.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import httpx

from cli.output import CommandFailed, CommandRefused, complain
from cli.signing import signer_of
from sealgate.client import (
    RateLimited,
    RequestStatus,
    RetryPolicy,
    Sealgate,
    SealgateError,
    ServiceUnavailable,
    SignatureInvalid,
    TransportError,
)
from sealgate.client.errors import Detail
from sealgate.client.signing import REQUEST_WINDOW_SECONDS, base64_text

_T = TypeVar("_T")
# As often as there is time: what ends it is the window of the request's id.
PATIENCE: Final = RetryPolicy(attempts_count=100, cap_seconds=2.0)


@dataclass(frozen=True, slots=True)
class Platform:
    """A platform, and the master key that calls it for an account."""

    url: str
    key_file: Path
    account: uuid.UUID
    audience: str | None
    """The deployment's name; None is what the URL says."""

    def call(self, ask: Callable[[Sealgate], _T]) -> _T:
        """What a signed call answers; ends with 2 for what makes no call, with 1 for a refusal."""
        with httpx.Client() as http:
            return self._ask(ask, http, RetryPolicy(attempts_count=4))

    def call_patiently(self, ask: Callable[[Sealgate], _T]) -> _T:
        """As `call`; sends the same bytes for as long as the platform takes them, and says so on stderr."""
        with httpx.Client() as http:
            tell_of_repeats(http)
            return self._ask(ask, http, PATIENCE)

    def _ask(self, ask: Callable[[Sealgate], _T], http: httpx.Client, policy: RetryPolicy) -> _T:
        signer = signer_of(self.key_file, self.account, self.audience)
        try:
            client = Sealgate(self.url, signer=signer, http=http, retry=policy)
        except ValueError as error:
            raise CommandRefused(f"--url: {error}") from None
        try:
            return _explained(client, signer.audience or client.audience, ask)
        except ValueError as error:
            raise CommandRefused(str(error)) from None


# What people write for a field of the requests of these commands.
_WORDS: Final = {"public_key": "SESSION_KEY", "scope": "--subaccount", "valid_until_ns": "--hours"}
# What a refusal of the key that signs means here, where that has to be a master key.
_ADVICE: Final = {
    "SESSION_INVALID": "the key of --key was removed or revoked: sign with another master key of the account",
    "SESSION_EXPIRED": "--key has a session key that has ended, and this wants a master key's file",
    "CREDENTIAL_NOT_ACCEPTED": "--key has a session key, and this wants a master key's file",
}


def explain(error: SealgateError) -> str:
    """A refusal in one line and in the commands' words, with what to do about it where that is known."""
    details = tuple(Detail(_WORDS.get(one.path, one.path), one.message) for one in error.details)
    told = type(error)(dataclasses.replace(error.facts, operation="", details=details))
    advice = _ADVICE.get(error.code or "")
    return str(told) if advice is None else f"{told}; {advice}"


def _explained(client: Sealgate, audience: str, ask: Callable[[Sealgate], _T]) -> _T:
    try:
        return ask(client)
    except SignatureInvalid as error:
        raise CommandFailed(f"{explain(error)}{_other_name(client, audience)}") from None
    except SealgateError as error:
        raise CommandFailed(explain(error)) from None


def _other_name(client: Sealgate, audience: str) -> str:
    """That the platform has another name than the one that was signed for; nothing where it has not.

    It is told and never signed for: a stranger that answers here could call itself anything.
    """
    try:
        called = client.get_time().audience
    except SealgateError:
        return ""
    if called == audience:
        return ""
    hint = f"--audience {called} if that is the one you mean"
    return f"; signed for {audience}; this platform calls itself {called}: {hint}"


def tell_of_repeats(http: httpx.Client) -> None:
    """Says once on stderr that a request is sent again, however often that happens."""
    sent: list[str] = []

    def tell(request: httpx.Request) -> None:
        sent.append(request.headers["x-request-id"])
        if sent.count(sent[-1]) == 2:
            complain(f"not confirmed yet; asking {request.url.host} again, for {REQUEST_WINDOW_SECONDS} s")

    http.event_hooks = {"request": [tell]}


# What the platform says of a key that it has revoked before.
_HAD_ENDED: Final = "had ended already"


def revoke_key(client: Sealgate, public_key: bytes, *, include_api_keys: bool) -> str:
    """Ends a session key, and says so; that it had ended already is as good.

    Raises SealgateError for a refusal, CommandFailed with what to do when the platform does not confirm it.
    """
    name = base64_text(public_key)
    try:
        outcome = client.submit_revoke_session_key(public_key=public_key, include_api_keys=include_api_keys)
    except SealgateError as error:
        if error.maybe_done:
            state = "the key may have ended, and perhaps not everywhere yet"
        elif isinstance(error, TransportError | RateLimited | ServiceUnavailable):
            state = "the key signs on"
        else:
            raise
        raise CommandFailed(f"{explain(error)}; {state}: run this again until it exits with 0") from None
    # An answer, whichever it is, means that all that the account ended before is in force everywhere.
    if outcome.status == RequestStatus.SESSION_INVALID and any(
        detail.message == _HAD_ENDED for detail in outcome.details
    ):
        return f"{name} {_HAD_ENDED}"
    outcome.raise_for_status()
    return f"revoked {name}"
