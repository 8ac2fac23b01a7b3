"""Who may call what: both listeners, real sockets, the method table as it is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest

from chassis.errors import Code, SealgateError
from chassis.methods import CredentialKind, method_table
from chassis.rpc.authn import PUBLIC_EXPOSURES
from chassis.rpc.client import open_channel
from chassis.rpc.pipeline import MessageStage, PipelineInterceptor
from chassis.testing.fakes import CountingIds, FakeClock
from sealgate.auth.v1 import session_pb2
from sealgate.common.v1 import passport_pb2
from tests.contract.rpc_harness import (
    ACCOUNT_ID,
    CREATE_SESSION,
    CREATE_WALLET,
    CURRENT_SESSION,
    EXPIRE_ALL,
    EXPIRE_CURRENT,
    GET_WALLET,
    INTERNAL,
    LIST_SESSIONS,
    OPEN,
    OPERATOR,
    PROJECT_ID,
    Harness,
    Metadata,
    Script,
    call,
    passport_metadata,
    refusal,
    scripted_services,
    serving,
    status_for,
    wire_failure,
)

SESSION_TOKEN = "eyJhbGciOiJFZERTQSJ9.e30.c2ln"
API_SECRET = "sk_" + "a" * 48
PROJECT_SECRET = "sk_" + "p" * 48
OTHER_ACCOUNT_ID = "0189abcd-0000-7000-8000-00000000000f"
SUBJECT = session_pb2.CreateSessionRequest(account_id=ACCOUNT_ID).SerializeToString()


@pytest.fixture
async def harness(clock: FakeClock, ids: CountingIds, short_directory: Path) -> AsyncIterator[Harness]:
    """A server that knows a session, an API key and a project key."""
    async with serving(clock, ids, short_directory) as running:
        known = running.issuer.known
        known[SESSION_TOKEN] = running.issuer.claims()
        known[API_SECRET] = running.issuer.claims(CredentialKind.ACCOUNT_API_KEY)
        known[PROJECT_SECRET] = running.issuer.claims(CredentialKind.PROJECT_KEY)
        yield running


@pytest.mark.parametrize("method", [INTERNAL, OPERATOR])
async def test_public_listener_does_not_have_a_method_when_it_is_internal(
    harness: Harness, method: str
) -> None:
    """What is for services and operators does not exist on the public port."""
    failure = await wire_failure(harness.public, method)
    assert failure.code() is grpc.StatusCode.UNIMPLEMENTED
    assert harness.script.served == []


@pytest.mark.parametrize("method", [INTERNAL, OPERATOR])
async def test_internal_listener_serves_a_method_when_it_is_internal(harness: Harness, method: str) -> None:
    """What is for services and operators is served on the Unix socket, without a passport."""
    assert await call(harness.internal, method) == b""
    assert harness.script.served[0].context.identity is None


async def test_public_listener_hides_an_internal_method_when_its_service_has_open_ones(
    harness: Harness,
) -> None:
    """Exposure is looked at method by method, and an unknown method looks the same as a hidden one."""
    hidden = await wire_failure(harness.public, INTERNAL)
    unknown = await wire_failure(harness.public, "/sealgate.auth.v1.IdentityService/NoSuchMethod")
    assert (hidden.code(), hidden.details()) == (unknown.code(), unknown.details())


@pytest.mark.parametrize("side", ["public", "internal"])
async def test_open_method_is_answered_when_no_credential_comes(harness: Harness, side: str) -> None:
    """An OPEN method asks nobody who they are, on either listener."""
    assert await call(getattr(harness, side), OPEN) == b""


async def test_public_listener_exchanges_a_credential_when_one_comes(harness: Harness) -> None:
    """The handler acts under the identity that the credential was exchanged for."""
    await call(harness.public, CURRENT_SESSION, metadata=(("authorization", f"Bearer {SESSION_TOKEN}"),))
    identity = harness.script.served[0].context.identity
    assert identity is not None
    assert str(identity.account_id) == ACCOUNT_ID
    assert str(identity.project_id) == PROJECT_ID
    assert identity.kind is CredentialKind.ACCOUNT_SESSION


async def test_internal_listener_takes_the_identity_from_a_passport_when_one_comes(harness: Harness) -> None:
    """The handler acts under the passport, and has it at hand to pass on."""
    metadata = harness.as_session()
    await call(harness.internal, CURRENT_SESSION, metadata=metadata)
    served = harness.script.served[0].context
    assert served.identity is not None
    assert str(served.identity.account_id) == ACCOUNT_ID
    assert served.passport == metadata[0][1]
    assert harness.issuer.asked == []


async def test_public_listener_refuses_a_passport_even_when_it_is_good(harness: Harness) -> None:
    """A stolen passport is worth nothing at the public door, with or without a credential beside it."""
    for extra in ((), (("authorization", f"Bearer {SESSION_TOKEN}"),)):
        metadata: Metadata = (*harness.as_session(), *extra)
        error = await refusal(harness.public, CURRENT_SESSION, metadata=metadata)
        assert error.code is Code.CREDENTIAL_NOT_ACCEPTED
    assert harness.script.served == []


@pytest.mark.parametrize("header", ["authorization", "x-api-key", "x-project-api-key", "x-device-key"])
async def test_internal_listener_refuses_a_credential_even_beside_a_passport(
    harness: Harness, header: str
) -> None:
    """Inside there are passports only: a forwarded credential is a mistake that must show."""
    for extra in ((), harness.as_session()):
        metadata: Metadata = ((header, API_SECRET), *extra)
        error = await refusal(harness.internal, CURRENT_SESSION, metadata=metadata)
        assert error.code is Code.CREDENTIAL_NOT_ACCEPTED
    assert harness.script.served == []


async def test_internal_listener_refuses_a_call_when_it_has_no_passport(harness: Harness) -> None:
    """A PUBLIC method needs an identity inside too."""
    assert (await refusal(harness.internal, CURRENT_SESSION)).code is Code.API_KEY_REQUIRED


async def test_internal_listener_refuses_a_call_when_it_has_two_passports(harness: Harness) -> None:
    """Two identities are none, even when both are good."""
    metadata = (*harness.as_session(), *harness.as_session(lifetime_ns=1_000_000_000))
    assert (await refusal(harness.internal, CURRENT_SESSION, metadata=metadata)).code is Code.API_KEY_REQUIRED


@pytest.mark.parametrize(
    ("method", "code"),
    [(CURRENT_SESSION, Code.API_KEY_REQUIRED), (EXPIRE_CURRENT, Code.SESSION_REQUIRED)],
)
async def test_public_listener_says_what_is_needed_when_no_credential_comes(
    harness: Harness, method: str, code: Code
) -> None:
    """SESSION_REQUIRED where nothing but a session would do, else API_KEY_REQUIRED."""
    assert (await refusal(harness.public, method)).code is code


@pytest.mark.parametrize(
    "metadata",
    [
        (("x-api-key", API_SECRET), ("authorization", f"Bearer {SESSION_TOKEN}")),
        (("x-api-key", API_SECRET), ("x-project-api-key", PROJECT_SECRET)),
        (("x-device-key", "dk_x"), ("x-api-key", API_SECRET)),
        (("x-api-key", API_SECRET), ("x-api-key", API_SECRET)),
        (("authorization", f"Bearer {SESSION_TOKEN}"), ("authorization", f"Bearer {SESSION_TOKEN}")),
        (("x-api-key", API_SECRET), ("origin", "https://a.example"), ("origin", "https://b.example")),
        (("x-api-key", ""), ("authorization", f"Bearer {SESSION_TOKEN}")),
    ],
    ids=[
        "key+session",
        "key+project",
        "device+key",
        "key twice",
        "session twice",
        "origin twice",
        "empty key",
    ],
)
async def test_public_listener_refuses_a_call_when_its_credential_is_ambiguous(
    harness: Harness, metadata: Metadata
) -> None:
    """Two credentials, or one header twice, are refused before anybody is asked about them."""
    error = await refusal(harness.public, CURRENT_SESSION, metadata=metadata)
    assert error.code is Code.CREDENTIAL_AMBIGUOUS
    assert harness.issuer.asked == []


@pytest.mark.parametrize(
    ("metadata", "kind", "text"),
    [
        ((("authorization", f"Bearer {SESSION_TOKEN}"),), CredentialKind.ACCOUNT_SESSION, SESSION_TOKEN),
        ((("authorization", f"bearer  {SESSION_TOKEN} "),), CredentialKind.ACCOUNT_SESSION, SESSION_TOKEN),
        ((("authorization", f"Bearer {API_SECRET}"),), CredentialKind.ACCOUNT_API_KEY, API_SECRET),
        ((("x-api-key", API_SECRET),), CredentialKind.ACCOUNT_API_KEY, API_SECRET),
        ((("x-project-api-key", PROJECT_SECRET),), CredentialKind.PROJECT_KEY, PROJECT_SECRET),
        ((("x-device-key", "dk_x"),), CredentialKind.DEVICE_KEY, "dk_x"),
        ((("x-api-key", SESSION_TOKEN),), CredentialKind.ACCOUNT_API_KEY, SESSION_TOKEN),
        ((("authorization", "Bearer"),), CredentialKind.ACCOUNT_SESSION, ""),
    ],
)
async def test_public_listener_takes_the_kind_from_the_header_when_it_asks_auth(
    harness: Harness, metadata: Metadata, kind: CredentialKind, text: str
) -> None:
    """The header fixes the kind; only a bearer's `sk_` tells a key from a token."""
    with suppress(SealgateError):  # whether it is good is the exchanger's affair
        await call(harness.public, CURRENT_SESSION, metadata=metadata)
    credential, subject = harness.issuer.asked[0]
    assert (credential.kind, credential.text, credential.origin, subject) == (kind, text, None, None)


@pytest.mark.parametrize("value", ["Basic dXNlcjpwYXNz", "Token x", SESSION_TOKEN, ""])
async def test_public_listener_refuses_an_authorization_when_it_is_no_bearer(
    harness: Harness, value: str
) -> None:
    """Another scheme is no session of ours, and nobody is asked about it."""
    error = await refusal(harness.public, CURRENT_SESSION, metadata=(("authorization", value),))
    assert error.code is Code.SESSION_INVALID
    assert harness.issuer.asked == []


async def test_exchange_is_told_origin_and_subject_when_the_request_has_them(harness: Harness) -> None:
    """Auth decides over the channel and the account, so it hears of both."""
    await call(
        harness.public,
        CREATE_SESSION,
        SUBJECT,
        (("x-project-api-key", PROJECT_SECRET), ("origin", "https://a.example")),
    )
    credential, subject = harness.issuer.asked[0]
    assert (credential.origin, subject) == ("https://a.example", ACCOUNT_ID)


async def test_origin_longer_than_any_list_can_have_goes_no_further(harness: Harness) -> None:
    """What a stranger sends is passed on, signed and compared up to a bound; past it, it is no page's."""
    longest = "https://" + "a" * 247
    for origin in (longest, longest + "a"):
        await call(
            harness.public,
            CREATE_SESSION,
            SUBJECT,
            (("x-project-api-key", PROJECT_SECRET), ("origin", origin)),
        )
    assert [credential.origin for credential, _ in harness.issuer.asked] == [longest, "null"]


@pytest.mark.parametrize(
    ("method", "changes", "code"),
    [
        # The wrong kind is told before anything else that is wrong too.
        (
            EXPIRE_CURRENT,
            {"kind": CredentialKind.ACCOUNT_API_KEY, "scopes": (), "modules": ()},
            Code.CREDENTIAL_NOT_ACCEPTED,
        ),
        (CURRENT_SESSION, {"kind": CredentialKind.PROJECT_KEY}, Code.CREDENTIAL_NOT_ACCEPTED),
        (
            CREATE_WALLET,
            {
                "kind": CredentialKind.DEVICE_KEY,
                "scopes": (),
                "modules": (),
                "project_status": passport_pb2.PROJECT_STATUS_PAST_DUE,
            },
            Code.CREDENTIAL_NOT_ACCEPTED,
        ),
        # Then the project's state, before module and scope.
        (
            CREATE_WALLET,
            {"scopes": (), "modules": (), "project_status": passport_pb2.PROJECT_STATUS_PAST_DUE},
            Code.SUBSCRIPTION_PAST_DUE,
        ),
        # Then the module, before the scope.
        (CREATE_WALLET, {"scopes": (), "modules": ("trading",)}, Code.MODULE_NOT_ENABLED),
        (CREATE_WALLET, {"scopes": ("wallet:read",)}, Code.SCOPE_NOT_GRANTED),
        (GET_WALLET, {"scopes": ("wallet:write",)}, Code.SCOPE_NOT_GRANTED),
        (CURRENT_SESSION, {"scopes": ()}, Code.SCOPE_NOT_GRANTED),
    ],
    ids=[
        "key on a session's method",
        "project key on an account's method",
        "kind before all else",
        "past due before module",
        "module before scope",
        "read scope on a write",
        "write scope on a read",
        "no scope",
    ],
)
async def test_method_is_refused_when_its_row_does_not_allow_the_identity(
    harness: Harness, method: str, changes: dict[str, Any], code: Code
) -> None:
    """Kind, project state, module, scope: the first that fails is the answer. Pages: test_rpc_pages.py."""
    error = await refusal(harness.internal, method, metadata=harness.as_session(**changes))
    assert error.code is code
    assert harness.script.served == []


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        (CURRENT_SESSION, {"scopes": ("account:read",), "modules": ()}),
        (CURRENT_SESSION, {"kind": CredentialKind.DEVICE_KEY, "scopes": ("account:read",)}),
        (CREATE_WALLET, {"scopes": ("wallet:write",), "modules": ("wallet",)}),
        (EXPIRE_CURRENT, {"scopes": ()}),
        (EXPIRE_CURRENT, {"project_status": passport_pb2.PROJECT_STATUS_PAST_DUE}),
        (CURRENT_SESSION, {"project_status": passport_pb2.PROJECT_STATUS_PAST_DUE}),
        (GET_WALLET, {"kind": CredentialKind.ACCOUNT_API_KEY, "origin": "https://a.example"}),
        (CREATE_WALLET, {"origin": "https://a.example"}),
    ],
    ids=[
        "just the scope",
        "device key reads",
        "just scope and module",
        "no scope needed",
        "past due revokes",
        "past due reads",
        "browser read by key",
        "browser write by session",
    ],
)
async def test_method_is_served_when_its_row_allows_the_identity(
    harness: Harness, method: str, changes: dict[str, Any]
) -> None:
    """The neighbours of the refusals pass."""
    assert await call(harness.internal, method, metadata=harness.as_session(**changes)) == b""


async def test_project_key_needs_no_scope_when_it_acts_on_an_account(harness: Harness) -> None:
    """A project key has no scopes and does all that its routes do, revoking also while past due."""
    past_due = passport_pb2.PROJECT_STATUS_PAST_DUE
    await call(harness.internal, CREATE_SESSION, SUBJECT, harness.as_project())
    await call(harness.internal, EXPIRE_ALL, SUBJECT, harness.as_project(project_status=past_due))
    await call(harness.internal, LIST_SESSIONS, SUBJECT, harness.as_project(project_status=past_due))
    error = await refusal(
        harness.internal, CREATE_SESSION, SUBJECT, harness.as_project(project_status=past_due)
    )
    assert error.code is Code.SUBSCRIPTION_PAST_DUE


@pytest.mark.parametrize("in_passport", [OTHER_ACCOUNT_ID, ""])
@pytest.mark.parametrize("method", [CREATE_SESSION, LIST_SESSIONS, EXPIRE_ALL])
async def test_method_is_refused_when_the_passport_is_for_another_account(
    harness: Harness, method: str, in_passport: str
) -> None:
    """The account in the request must be the one that auth put into the passport."""
    metadata = harness.as_project(account_id=in_passport)
    error = await refusal(harness.internal, method, SUBJECT, metadata)
    assert error.code is Code.ACCOUNT_NOT_FOUND
    assert harness.script.served == []


@pytest.mark.parametrize("named", ["", ACCOUNT_ID.upper(), "{" + ACCOUNT_ID + "}", "nonsense"])
async def test_method_is_refused_when_the_account_is_named_in_another_form(
    harness: Harness, named: str
) -> None:
    """One account has one name."""
    request = session_pb2.CreateSessionRequest(account_id=named).SerializeToString()
    error = await refusal(harness.internal, CREATE_SESSION, request, harness.as_project())
    assert error.code is Code.ACCOUNT_NOT_FOUND


async def test_passport_stops_working_when_its_time_is_over(harness: Harness, clock: FakeClock) -> None:
    """A verdict that was remembered does not outlive the passport."""
    metadata = harness.as_session(lifetime_ns=1_000)
    await call(harness.internal, CURRENT_SESSION, metadata=metadata)
    clock.advance_ns(999)
    await call(harness.internal, CURRENT_SESSION, metadata=metadata)
    clock.advance_ns(1)
    error = await refusal(harness.internal, CURRENT_SESSION, metadata=metadata)
    assert error.code is Code.CREDENTIAL_NOT_ACCEPTED


@pytest.mark.parametrize("garbage", [b"", b"\x00", b"passport", b"\x0a\x01k", b"\xff" * 100])
async def test_passport_is_refused_when_it_is_garbage(harness: Harness, garbage: bytes) -> None:
    """Whatever bytes come under the passport's name, the answer is a refusal."""
    error = await refusal(harness.internal, CURRENT_SESSION, metadata=passport_metadata(garbage))
    assert error.code is Code.CREDENTIAL_NOT_ACCEPTED


async def test_public_listener_uses_nothing_when_a_stranger_sends_internal_metadata(
    harness: Harness,
) -> None:
    """Address and user agent of a public call are the connection's, never what metadata claims."""
    await call(
        harness.public,
        OPEN,
        metadata=(("sealgate-client-address", "203.0.113.9"), ("sealgate-user-agent", "forged")),
    )
    served = harness.script.served[0].context
    assert served.client_address == "127.0.0.1"
    assert served.user_agent.startswith("grpc-python-asyncio/")


async def test_internal_listener_believes_metadata_when_it_says_who_the_client_is(harness: Harness) -> None:
    """Inside, address and user agent are those that the first process saw."""
    await call(
        harness.internal,
        OPEN,
        metadata=(("sealgate-client-address", "203.0.113.9"), ("sealgate-user-agent", "a browser")),
    )
    served = harness.script.served[0].context
    assert (served.client_address, served.user_agent) == ("203.0.113.9", "a browser")


@pytest.mark.parametrize("sent", [b"caf\xc3\xa9", b"\xff\xfe", b"nul\x00", b"line\r\nbreak", b"a" * 100])
async def test_user_agent_is_printable_ascii_whatever_a_stranger_sends(harness: Harness, sent: bytes) -> None:
    """It goes into rows, log lines and further metadata, none of which take everything."""
    assert await status_for(harness.public_address, {b"user-agent": sent}) == b"0"
    user_agent = harness.script.served[0].context.user_agent
    assert user_agent.isascii()
    assert user_agent.isprintable()


async def test_listener_hides_a_method_when_its_servicer_was_added_all_the_same() -> None:
    """What a listener serves is decided method by method, whatever handlers its server has."""
    services = scripted_services(Script())
    table = method_table(service.descriptor for service in services)
    interceptor = PipelineInterceptor(table, PUBLIC_EXPOSURES, (MessageStage(),))
    server = grpc.aio.server(interceptors=(interceptor,))
    for service in services:
        service.add_to_server(service.servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    channel = open_channel(f"127.0.0.1:{port}")
    for method in (INTERNAL, OPERATOR):
        assert (await wire_failure(channel, method)).code() is grpc.StatusCode.UNIMPLEMENTED
    await channel.close()
    await server.stop(0)
