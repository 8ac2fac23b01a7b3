"""Which method serves a verb and a path.

Routes come from `google.api.http` in the descriptor set. A path is split at its slashes before
anything in it is decoded, so that an encoded slash can never become one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeVar
from urllib.parse import unquote_to_bytes

from google.api import annotations_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError

from chassis.errors import Code, SealgateError
from chassis.methods import Method, method_table

_VERBS: Final = frozenset({"GET", "PUT", "POST", "DELETE", "PATCH"})
_LITERAL: Final = re.compile(r"[A-Za-z0-9._~-]+")
_VARIABLE: Final = re.compile(r"\{(?P<name>[a-z][a-z0-9_]*)\}")
_BROKEN_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")

# What the requests of signed methods consist of, beside path variables.
_PAYLOAD_FIELDS: Final = ("payload", "signature", "public_key", "account_id")
_HEADER_FIELDS: Final = (
    *("method", "target", "body"),
    *("account_id", "public_key", "request_id", "signature"),
)

_Endpoint = TypeVar("_Endpoint")


class RouteError(Exception):
    """Routes that cannot be served as they are written; the text names the method or service."""


class MethodNotAllowedError(SealgateError):
    """The path exists, for other verbs: `allow` lists them as the `Allow` header does."""

    def __init__(self, allow: str) -> None:
        super().__init__(Code.METHOD_NOT_ALLOWED)
        self.allow = allow


class _Node(Generic[_Endpoint]):
    """What can follow a beginning of a path, and what serves the path that ends here."""

    __slots__ = ("allow", "endpoints", "literals", "variable")

    def __init__(self) -> None:
        self.literals: dict[bytes, _Node[_Endpoint]] = {}
        self.variable: _Node[_Endpoint] | None = None
        self.endpoints: dict[str, _Endpoint] = {}
        self.allow = ""


@dataclass(frozen=True, slots=True)
class Match(Generic[_Endpoint]):
    """What serves a request, and the decoded values of the path's variables in their order."""

    endpoint: _Endpoint
    variables: Sequence[str]


class RouteTable(Generic[_Endpoint]):
    """Finds the endpoint of a request; a literal segment beats a variable one."""

    def __init__(self) -> None:
        self._root: _Node[_Endpoint] = _Node()

    def add(self, verb: str, template: str, endpoint: _Endpoint) -> None:
        """Adds a route; RouteError when another one matches the same verb and paths."""
        node = self._root
        for segment in _segments(template):
            node = _child(node, segment)
        if verb in node.endpoints:
            raise RouteError(f"{verb} {template} is served twice")
        node.endpoints[verb] = endpoint
        verbs = {*node.endpoints, "HEAD"} if "GET" in node.endpoints else set(node.endpoints)
        node.allow = ", ".join(sorted(verbs))

    def match(self, verb: str, raw_path: bytes) -> Match[_Endpoint]:
        """The endpoint for a verb and an undecoded path; HEAD is served by GET.

        Raises ROUTE_NOT_FOUND, or MethodNotAllowedError when the path is served for other verbs.
        """
        values: list[bytes] = []
        segments = raw_path.split(b"/")
        node = _find(self._root, segments, 1, values) if not segments[0] else None
        if node is None:
            raise SealgateError(Code.ROUTE_NOT_FOUND)
        endpoint = node.endpoints.get("GET" if verb == "HEAD" else verb)
        variables = [_decode(value) for value in values]
        if endpoint is None:
            raise MethodNotAllowedError(node.allow)
        return Match(endpoint, variables)


def load_methods(descriptor: Path, services: Iterable[str]) -> list[Method]:
    """The rows of the methods that `services` serve over REST, from a descriptor set file.

    Raises RouteError for a file that is none, a service that is not in it, and a mapping that the
    edge cannot serve; MethodTableError for a method without an access rule.
    """
    pool = DescriptorPool()
    try:
        for file in FileDescriptorSet.FromString(descriptor.read_bytes()).file:
            file.ClearField("source_code_info")
            pool.Add(file)
    except OSError as error:
        start = (
            "" if descriptor.is_absolute() else f"; it is looked for in the working directory, {Path.cwd()}"
        )
        raise RouteError(f"{descriptor} cannot be read ({error.strerror}){start}") from error
    except (DecodeError, TypeError) as error:
        raise RouteError(f"{descriptor} is not a descriptor set") from error
    methods: list[Method] = []
    for service in services:
        try:
            found = pool.FindServiceByName(service)
        except KeyError:
            raise RouteError(f"{service} is not in {descriptor}") from None
        served = [row for row in method_table([found]).values() if row.bindings]
        if not served:
            raise RouteError(f"{service} has no method with a REST path")
        methods += served
    for method in methods:
        _refuse_unservable(method)
    return methods


def variable_names(template: str) -> tuple[str, ...]:
    """The names of a path template's variables, in their order."""
    return tuple(match["name"] for match in map(_VARIABLE.fullmatch, _segments(template)) if match)


def _refuse_unservable(method: Method) -> None:
    descriptor = method.descriptor
    http = descriptor.GetOptions().Extensions[annotations_pb2.http]
    names = [variable_names(binding.template) for binding in method.bindings if binding.verb in _VERBS]
    fields = descriptor.input_type.fields_by_name
    problems = {
        "is a stream": descriptor.client_streaming or descriptor.server_streaming,
        "maps another verb than GET, PUT, POST, DELETE, PATCH": len(names) != len(method.bindings),
        "maps a part of a message to a body": any(
            rule.body not in ("", "*") or rule.response_body for rule in (http, *http.additional_bindings)
        ),
        "is signed, but its request has no fields for that": method.is_signed
        and not {*(_PAYLOAD_FIELDS if method.takes_payload else _HEADER_FIELDS)} <= set(fields),
        "has a path variable that is no string field": any(
            name not in fields or fields[name].type != fields[name].TYPE_STRING or fields[name].is_repeated
            for bound in names
            for name in bound
        ),
        "has a path variable twice": any(len(set(bound)) != len(bound) for bound in names),
        "does not have its subject account in every path": method.subject_account_field is not None
        and any(method.subject_account_field not in bound for bound in names),
    }
    for problem, present in problems.items():
        if present:
            raise RouteError(f"{method.full_name} {problem}")


def _segments(template: str) -> list[str]:
    start, *segments = template.split("/")
    fit = all(_LITERAL.fullmatch(segment) or _VARIABLE.fullmatch(segment) for segment in segments)
    if start or not segments or not fit:
        raise RouteError(f"{template} is not a path of literal segments and {{variables}}")
    return segments


def _child(node: _Node[_Endpoint], segment: str) -> _Node[_Endpoint]:
    if _VARIABLE.fullmatch(segment):
        if node.variable is None:
            node.variable = _Node()
        return node.variable
    return node.literals.setdefault(segment.encode("ascii"), _Node())


def _find(
    node: _Node[_Endpoint], segments: Sequence[bytes], index: int, values: list[bytes]
) -> _Node[_Endpoint] | None:
    """The node at the end of `segments`, literals first; `values` gets what the variables stand for."""
    if index == len(segments):
        return node if node.endpoints else None
    segment = segments[index]
    literal = node.literals.get(segment)
    if literal is not None:
        found = _find(literal, segments, index + 1, values)
        if found is not None:
            return found
    if node.variable is None or not segment:
        return None
    values.append(segment)
    found = _find(node.variable, segments, index + 1, values)
    if found is None:
        values.pop()
    return found


def _decode(segment: bytes) -> str:
    if b"%" not in segment:
        decoded = segment
    elif _BROKEN_ESCAPE.search(segment):
        raise SealgateError(Code.ROUTE_NOT_FOUND)
    else:
        decoded = unquote_to_bytes(segment)
    if decoded in (b".", b"..") or b"/" in decoded or b"\0" in decoded:
        raise SealgateError(Code.ROUTE_NOT_FOUND)
    try:
        return decoded.decode("utf-8")
    except UnicodeDecodeError:
        raise SealgateError(Code.ROUTE_NOT_FOUND) from None
