"""Writes the tables of docs/signing.md: request types, and the messages that payloads hold.

They stand between a line `<!-- generated: NAME -->` and a line `<!-- end -->`; all else of the page is
written by people.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from tools.client_contracts import Contracts, is_decimal, is_optional, signed_message, type_name

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor, FieldDescriptor

    from chassis.methods import Method


def with_tables(page: str, contracts: Contracts) -> str:
    """The page with its tables as the contracts have them; raises KeyError for a table nobody makes."""
    signed = [method for method in contracts.methods if method.is_signed]
    payloads = sorted((item for item in signed if item.takes_payload), key=lambda item: item.request_type)
    tables = {
        "request types": _request_types(payloads),
        "signed headers": _signed_headers(item for item in signed if not item.takes_payload),
        "messages": _messages(payloads, contracts),
    }
    return re.sub(
        r"(<!-- generated: ([a-z ]+) -->\n).*?(<!-- end -->)",
        lambda found: f"{found[1]}{tables[found[2]]}\n{found[3]}",
        page,
        flags=re.DOTALL,
    )


def _table(*rows: Sequence[str]) -> str:
    head, *rest = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([head, f"|{'---|' * len(rows[0])}", *rest])


def _request_types(methods: Iterable[Method]) -> str:
    rows = [
        (
            str(method.request_type),
            f"`{(method.payload_message or '').rpartition('.')[2]}`",
            f"`POST {method.bindings[0].template}`",
            " or ".join(sorted(kind.name.removesuffix("_KEY").lower() for kind in method.accepts)),
            _needs(method),
            method.full_name.split(".")[1],
        )
        for method in methods
    ]
    return _table(("type", "message", "route", "key", "needs", "service"), *rows)


def _needs(method: Method) -> str:
    from chassis.methods import CredentialKind, SignerNeed

    words = {CredentialKind.MASTER_KEY: "ADMIN", CredentialKind.SESSION_KEY: "admin-rooted"}
    needs = []
    if SignerNeed.ADMIN_ROOTED in method.signer_needs:
        needs.append(" or ".join(words[kind] for kind in sorted(method.accepts)))
    elif any(field.name.endswith(("subaccount_index", "scope")) for field in _fields(method)):
        needs.append("reach")
    if SignerNeed.FULL_ACCESS in method.signer_needs:
        needs.append("FULL_ACCESS")
    return ", ".join(needs)


def _fields(method: Method) -> Sequence[FieldDescriptor]:
    message = signed_message(method)
    return message.fields if message else ()


def _signed_headers(methods: Iterable[Method]) -> str:
    rows = [
        (
            f"`{method.bindings[0].verb} {method.bindings[0].template}`",
            f"`{method.full_name.rpartition('/')[2]}`",
            ", ".join(f"`{field.name}`" for field in _fields(method)),
        )
        for method in methods
    ]
    return _table(("route", "RPC", "members of its body"), *rows)


def _messages(methods: Iterable[Method], contracts: Contracts) -> str:
    texts: dict[str, str] = {}
    for method in methods:
        message = signed_message(method)
        if message is not None and message.full_name not in texts:
            texts[message.full_name] = _message(message, method.request_type, contracts)
    return "\n\n".join(texts.values())


def _message(message: Descriptor, request_type: int, contracts: Contracts) -> str:
    rows = [
        (str(field.number), f"`{field.name}`", _type(field), contracts.comments[field.full_name])
        for field in sorted(message.fields, key=lambda item: item.number)
    ]
    title = f"**`{message.name}`** ({request_type}). {contracts.comments[message.full_name]}"
    if not rows:
        return f"{title} It has no fields: its body is empty."
    return f"{title}\n\n{_table(('no.', 'field', 'type', 'what it may be'), *rows)}"


def _type(field: FieldDescriptor) -> str:
    kind = type_name(field).removeprefix("TYPE_").lower()
    if field.enum_type is not None:
        prefix = field.enum_type.values[0].name.removesuffix("UNSPECIFIED")
        known = [value for value in field.enum_type.values if value.number]
        kind = ", ".join(f"{value.name.removeprefix(prefix)} = {value.number}" for value in known)
        kind = f"enum: {kind}"
    elif is_decimal(field):
        kind = "string, a decimal number"
    return f"optional {kind}" if is_optional(field) else kind
