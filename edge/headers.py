"""What the edge reads of a request's headers. Nothing a client sent is copied to a service as it is."""

from __future__ import annotations

import ipaddress
import re
import uuid
from collections.abc import Sequence
from typing import Final

from chassis.errors import Code, SealgateError
from chassis.ids import parse_uuid
from chassis.limits import USER_AGENT_MAX_CHARACTERS
from chassis.secrets import looks_like_api_secret

_JSON_TYPE: Final = re.compile(r'application/json(?:\s*;\s*charset=(?:utf-8|"utf-8"))?', re.IGNORECASE)

RawHeaders = Sequence[tuple[bytes, bytes]]


class RequestHeaders:
    """A request's headers, names in lower case, in the order they came in and with their repeats."""

    __slots__ = ("_values", "pairs")

    def __init__(self, raw: RawHeaders) -> None:
        self.pairs = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in raw]
        self._values: dict[str, str] = {}
        for name, value in self.pairs:
            # A list in several lines is the same list in one (RFC 9110 section 5.3).
            earlier = self._values.get(name)
            self._values[name] = value if earlier is None else f"{earlier},{value}"

    def request_id(self) -> uuid.UUID | None:
        """The caller's own id of the request, when it is a UUID."""
        text = self._values.get("x-request-id")
        return None if text is None else parse_uuid(text.strip().lower())

    def user_agent(self) -> str:
        """What the client says it is, cut to a bounded length."""
        return self._values.get("user-agent", "")[:USER_AGENT_MAX_CHARACTERS]

    def shows_api_key(self) -> bool:
        """Whether an account API key is shown, in either of its headers and whatever it is worth."""
        scheme, _, text = self._values.get("authorization", "").strip().partition(" ")
        is_bearer = scheme.lower() == "bearer" and looks_like_api_secret(text.strip())
        return is_bearer or "x-api-key" in self._values

    def all_of(self, name: str) -> list[str]:
        """Every value of a header, for one whose values are no list."""
        return [value for other, value in self.pairs if other == name]

    def client_address(self, peer: str, trusted_hops_count: int) -> str:
        """The client's network address: the peer's, or what the outermost trusted proxy saw.

        Each of our own proxies appends the address of who called it to `X-Forwarded-For`, so the
        entry so many places from the right is the leftmost that none but ours wrote. Where it is
        missing or no address, the peer it is.
        """
        if trusted_hops_count == 0:
            return peer
        hops = self._values.get("x-forwarded-for", "").split(",")
        if len(hops) < trusted_hops_count:
            return peer
        try:
            return str(ipaddress.ip_address(hops[-trusted_hops_count].strip()))
        except ValueError:
            return peer

    def entity_tags(self) -> set[str]:
        """The versions of the answer that the caller has (`If-None-Match`), weak marks taken off."""
        tags = self._values.get("if-none-match", "").split(",")
        return {tag.strip().removeprefix("W/") for tag in tags if tag.strip()}

    def announces_body(self) -> bool:
        """Whether a body follows."""
        return "transfer-encoding" in self._values or self._values.get("content-length", "0") != "0"

    def body_bytes(self) -> int:
        """The announced length of the body; 0 where there is none or it is sent in chunks."""
        text = self._values.get("content-length", "0")
        return int(text) if text.isascii() and text.isdigit() else 0

    def require_json(self) -> None:
        """Raises UNSUPPORTED_MEDIA_TYPE unless the body is said to be plain JSON in UTF-8."""
        encoding = self._values.get("content-encoding", "identity")
        content_type = self._values.get("content-type", "").strip()
        if encoding.strip().lower() != "identity" or not _JSON_TYPE.fullmatch(content_type):
            raise SealgateError(Code.UNSUPPORTED_MEDIA_TYPE)
