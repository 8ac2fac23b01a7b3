"""The one table of who may call what, read from the method options of the descriptors.

A row is written in the proto, beside the method it speaks of. Authorization, the REST surface,
limits and documentation read the row; a process refuses to start with a method that has none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, TypeVar

from google.api import annotations_pb2
from google.api.http_pb2 import HttpRule
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from chassis.errors import Code
from sealgate.common.v1 import method_rule_pb2 as rules
from sealgate.common.v1.error_code_pb2 import ErrorCode

# Served by every process and described by others' protos, which carry no rule of ours.
FOREIGN_SERVICES: Final = ("grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection")


_Enum = TypeVar("_Enum", bound=IntEnum)
_Named = TypeVar("_Named")


class MethodTableError(Exception):
    """A method whose row is missing or contradicts itself; the text names the method."""


class Exposure(IntEnum):
    """Who can reach a method."""

    PUBLIC = rules.EXPOSURE_PUBLIC
    INTERNAL = rules.EXPOSURE_INTERNAL
    OPERATOR = rules.EXPOSURE_OPERATOR
    OPEN = rules.EXPOSURE_OPEN


class CredentialKind(IntEnum):
    """The kinds of credential that identify a request."""

    PROJECT_KEY = rules.CREDENTIAL_KIND_PROJECT_KEY
    ACCOUNT_SESSION = rules.CREDENTIAL_KIND_ACCOUNT_SESSION
    ACCOUNT_API_KEY = rules.CREDENTIAL_KIND_ACCOUNT_API_KEY
    DEVICE_KEY = rules.CREDENTIAL_KIND_DEVICE_KEY
    MASTER_KEY = rules.CREDENTIAL_KIND_MASTER_KEY
    SESSION_KEY = rules.CREDENTIAL_KIND_SESSION_KEY


SIGNER_KINDS: Final = frozenset({CredentialKind.MASTER_KEY, CredentialKind.SESSION_KEY})
_WITHOUT_SCOPES: Final = SIGNER_KINDS | {CredentialKind.PROJECT_KEY}


class SignerNeed(IntEnum):
    """What the key behind a signed request must be, beside its kind."""

    FULL_ACCESS = rules.SIGNER_NEED_FULL_ACCESS
    ADMIN_ROOTED = rules.SIGNER_NEED_ADMIN_ROOTED


class Effect(IntEnum):
    """What a method does to the state of the platform."""

    READ = rules.EFFECT_READ
    WRITE = rules.EFFECT_WRITE
    REVOKE = rules.EFFECT_REVOKE


class Envelope(IntEnum):
    """The JSON around a REST answer."""

    NONE = rules.ENVELOPE_UNSPECIFIED
    PLATFORM = rules.ENVELOPE_PLATFORM
    BROWSER = rules.ENVELOPE_BROWSER
    SIGNED = rules.ENVELOPE_SIGNED
    BARE = rules.ENVELOPE_BARE


@dataclass(frozen=True, slots=True)
class HttpBinding:
    """One verb and path template, such as GET `/api/v1/wallet/{wallet_id}`."""

    verb: str
    template: str
    has_body: bool


@dataclass(frozen=True, slots=True)
class Method:
    """One row of the table."""

    full_name: str
    exposure: Exposure
    callers: tuple[str, ...]
    accepts: frozenset[CredentialKind]
    scope: str | None
    module: str | None
    effect: Effect
    envelope: Envelope
    success_status: int
    rate_class: int
    subject_account_field: str | None
    list_field: str | None
    object_field: str | None
    refusals: tuple[Code, ...]
    request_type: int
    signer_needs: frozenset[SignerNeed]
    payload_message: str | None
    for_pages: bool
    bindings: tuple[HttpBinding, ...]
    descriptor: MethodDescriptor

    @property
    def is_signed(self) -> bool:
        """Whether the request proves by a signature of its own who sent it."""
        return bool(self.accepts) and self.accepts <= SIGNER_KINDS

    @property
    def takes_browser_session(self) -> bool:
        """Whether a page that calls it with an API key has to show a browser session beside the key."""
        by_key = CredentialKind.ACCOUNT_API_KEY in self.accepts
        return by_key and self.effect is not Effect.READ and not self.for_pages

    @property
    def takes_payload(self) -> bool:
        """Whether what is signed is a payload; else a signed method's proof is in headers."""
        return self.request_type != 0


def method_path(service: ServiceDescriptor, name: str) -> str:
    """The gRPC path (`/package.Service/Method`) of a service's method; KeyError for one it does not have."""
    return f"/{service.full_name}/{service.methods_by_name[name].name}"


def method_table(services: Iterable[ServiceDescriptor]) -> Mapping[str, Method]:
    """Rows by gRPC path (`/package.Service/Method`); raises MethodTableError for an unfit one."""
    return {
        row.full_name: row
        for service in services
        if service.full_name not in FOREIGN_SERVICES
        for row in (_row(method) for method in service.methods)
    }


def foreign_row(method: MethodDescriptor) -> Method:
    """The row of a method of another's proto, such as health: open to all, reads, not over REST."""
    return Method(
        full_name=method_path(method.containing_service, method.name),
        exposure=Exposure.OPEN,
        callers=(),
        accepts=frozenset(),
        scope=None,
        module=None,
        effect=Effect.READ,
        envelope=Envelope.NONE,
        success_status=200,
        rate_class=rules.RATE_CLASS_NONE,
        subject_account_field=None,
        list_field=None,
        object_field=None,
        refusals=(),
        request_type=0,
        signer_needs=frozenset(),
        payload_message=None,
        for_pages=False,
        bindings=(),
        descriptor=method,
    )


def scope_text(scope: int) -> str | None:
    """`SCOPE_ACCOUNT_READ` as messages write it, `account:read`; None for no scope."""
    if scope == rules.SCOPE_UNSPECIFIED:
        return None
    noun, _, verb = (
        rules.Scope.Name(rules.Scope.ValueType(scope)).removeprefix("SCOPE_").lower().partition("_")
    )
    return f"{noun}:{verb}"


def module_text(module: int) -> str | None:
    """`MODULE_WALLET` as messages write it, `wallet`; None for no module."""
    if module == rules.MODULE_UNSPECIFIED:
        return None
    return rules.Module.Name(rules.Module.ValueType(module)).removeprefix("MODULE_").lower()


def _code(number: int) -> Code:
    name = ErrorCode.Name(ErrorCode.ValueType(number))
    return Code(name.removeprefix("ERROR_CODE_"))


def _row(method: MethodDescriptor) -> Method:
    full_name = method_path(method.containing_service, method.name)
    options = method.GetOptions()
    if not options.HasExtension(rules.rule):
        raise MethodTableError(f"{full_name} has no access rule")
    rule = options.Extensions[rules.rule]
    row = Method(
        full_name=full_name,
        exposure=_stated(Exposure, rule.exposure, full_name),
        callers=tuple(rule.callers),
        accepts=frozenset(_stated(CredentialKind, kind, full_name) for kind in rule.accepts),
        scope=_named(scope_text, rule.scope, full_name),
        module=_named(module_text, rule.module, full_name),
        effect=_stated(Effect, rule.effect, full_name),
        envelope=_stated(Envelope, rule.envelope, full_name),
        success_status=rule.success_status or 200,
        rate_class=rule.rate_class,
        subject_account_field=rule.subject_account_field or None,
        list_field=rule.list_field or None,
        object_field=rule.object_field or None,
        refusals=tuple(_named(_code, number, full_name) for number in rule.refusals),
        request_type=rule.request_type,
        signer_needs=frozenset(_stated(SignerNeed, need, full_name) for need in rule.signer_needs),
        payload_message=rule.payload_message or None,
        for_pages=rule.for_pages,
        bindings=tuple(_bindings(options.Extensions[annotations_pb2.http])),
        descriptor=method,
    )
    _refuse_contradiction(row)
    return row


def _stated(kind: type[_Enum], number: int, full_name: str) -> _Enum:
    try:
        return kind(number)
    except ValueError:
        raise MethodTableError(f"{full_name} does not state its {kind.__name__}") from None


def _named(text: Callable[[int], _Named], number: int, full_name: str) -> _Named:
    try:
        return text(number)
    except ValueError:
        raise MethodTableError(f"{full_name} names a scope, module or error that does not exist") from None


def _bindings(http: HttpRule) -> Iterable[HttpBinding]:
    for rule in (http, *http.additional_bindings):
        verb = rule.WhichOneof("pattern")
        if verb is not None:
            yield HttpBinding(verb.upper(), getattr(rule, verb), rule.body == "*")


def _refuse_contradiction(row: Method) -> None:
    public = row.exposure is Exposure.PUBLIC
    fields_in = row.descriptor.input_type.fields_by_name
    fields_out = row.descriptor.output_type.fields_by_name
    problems = {
        "accepts no credential": public and not row.accepts,
        "accepts credentials that nothing asks for": not public and bool(row.accepts),
        "has no rate class": row.rate_class == rules.RATE_CLASS_UNSPECIFIED,
        "is for customers but no limit counts it": public and row.rate_class == rules.RATE_CLASS_NONE,
        "has a REST path but no envelope": bool(row.bindings) and row.envelope is Envelope.NONE,
        "has a REST path but is not for customers": bool(row.bindings)
        and row.exposure not in (Exposure.PUBLIC, Exposure.OPEN),
        "names callers that cannot be told apart": bool(row.callers)
        and row.exposure is not Exposure.INTERNAL,
        "names a subject field it does not have": row.subject_account_field is not None
        and row.subject_account_field not in fields_in,
        "names an answer field it does not have": any(
            name is not None and name not in fields_out for name in (row.list_field, row.object_field)
        ),
        "is signed for some of its credentials only": bool(row.accepts & SIGNER_KINDS) and not row.is_signed,
        "takes a payload that nobody signs": (row.takes_payload or bool(row.signer_needs))
        and not row.is_signed,
        "does not name its payload's message": row.takes_payload is (row.payload_message is None),
        "names two answer fields": row.list_field is not None and row.object_field is not None,
        "names a scope that some of its credentials never have": row.scope is not None
        and bool(row.accepts & _WITHOUT_SCOPES),
    }
    for problem, present in problems.items():
        if present:
            raise MethodTableError(f"{row.full_name} {problem}")
