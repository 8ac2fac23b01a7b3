"""The exchange of credentials for passports, against a real database and a keys service on a socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from chassis.clock import NANOSECONDS_PER_SECOND
from chassis.errors import Code
from chassis.secrets import ApiKeyPair
from chassis.testing.databases import DatabaseFactory
from chassis.testing.fakes import CountingIds, FakeClock
from sealgate.auth.v1 import identity_pb2
from sealgate.common.v1 import method_rule_pb2, passport_pb2
from sealgate.keys.v1 import resolution_pb2
from tests.integration.auth_server import AUDIENCE, AuthServer, auth_server

PROJECT_KEY = method_rule_pb2.CREDENTIAL_KIND_PROJECT_KEY
SESSION = method_rule_pb2.CREDENTIAL_KIND_ACCOUNT_SESSION
ACCOUNT_KEY = method_rule_pb2.CREDENTIAL_KIND_ACCOUNT_API_KEY
PAGE = "https://shop.example"


@pytest.fixture
async def server(
    database_factory: DatabaseFactory, short_directory: Path, clock: FakeClock, ids: CountingIds
) -> AsyncIterator[AuthServer]:
    async with auth_server(database_factory, short_directory, clock, ids) as running:
        yield running


def set_answer(server: AuthServer, pair: ApiKeyPair, kind: int, **fields: Any) -> None:  # noqa: ANN401
    server.keys.answers[pair.public_key, kind] = resolution_pb2.ResolveApiKeyResponse(**fields)


async def test_session_passport_has_every_claim_and_thirty_seconds(server: AuthServer) -> None:
    """All of identity.proto's claims, each from its source."""
    account_id = await server.account()
    token = (await server.session(account_id)).session_token
    (row,) = await server.rows("SELECT account_number FROM account")
    now_ns = server.clock.now_ns()
    claims = await server.exchange(kind=SESSION, credential=token)
    assert claims == passport_pb2.PassportClaims(
        audience=AUDIENCE,
        project_id=server.project_id,
        account_id=account_id,
        account_number=row["account_number"],
        credential_kind=SESSION,
        credential_id=claims.credential_id,
        scopes=["account:read", "keys:write", "wallet:read", "wallet:write", "orders:write"],
        modules=["wallet", "trading", "browser", "signing"],
        channel=passport_pb2.CHANNEL_SERVER,
        issued_at_ns=now_ns,
        expires_at_ns=now_ns + 30 * NANOSECONDS_PER_SECOND,
        credential_expires_at_ns=now_ns + 120 * NANOSECONDS_PER_SECOND,
        project_status=passport_pb2.PROJECT_STATUS_ACTIVE,
        account_status=passport_pb2.ACCOUNT_STATUS_ACTIVE,
        account_version=0,
    )


async def test_passport_never_outlives_its_session(server: AuthServer) -> None:
    """Near the cap it is shorter than 30 s."""
    account_id = await server.account()
    token = (await server.session(account_id)).session_token
    for _ in range(2):
        server.clock.advance(seconds=97)
        await server.exchange(kind=SESSION, credential=token)
    server.clock.advance(seconds=97)
    claims = await server.exchange(kind=SESSION, credential=token)
    assert claims.expires_at_ns == server.clock.now_ns() + 9 * NANOSECONDS_PER_SECOND
    assert claims.credential_expires_at_ns == claims.expires_at_ns


async def test_account_key_passport_has_what_the_key_may(server: AuthServer) -> None:
    """Scopes, pin, end and name are the key's; so is the shorter life of the passport."""
    account_id = await server.account()
    end_ns = server.clock.now_ns() + 10 * NANOSECONDS_PER_SECOND
    pair = server.account_api_key(account_id, subaccount_index=0, expires_at_ns=end_ns)
    claims = await server.exchange(kind=ACCOUNT_KEY, credential=pair.secret_text)
    assert claims.credential_id == pair.public_text
    assert list(claims.scopes) == ["account:read", "wallet:read"]
    assert claims.HasField("subaccount_index")
    assert claims.expires_at_ns == claims.credential_expires_at_ns == end_ns
    assert claims.account_id == account_id


async def test_passport_of_a_rotated_key_ends_with_the_overlap_as_a_revocation(server: AuthServer) -> None:
    """No passport outlives the overlap, and the one that ends with it says why; then auth says the same."""
    account_id = await server.account()
    end_ns = server.clock.now_ns() + 10 * NANOSECONDS_PER_SECOND
    secret = server.account_api_key(account_id, expires_at_ns=end_ns, retires_at_ns=end_ns).secret_text
    claims = await server.exchange(kind=ACCOUNT_KEY, credential=secret)
    assert claims.expires_at_ns == claims.credential_expires_at_ns == end_ns
    assert claims.ends_revoked
    # The keys service answers that it lives, as one with a slower clock would.
    server.clock.advance(seconds=10)
    assert await server.exchange_code(kind=ACCOUNT_KEY, credential=secret) is Code.API_KEY_REVOKED


async def test_project_key_passport_has_the_account_it_names(server: AuthServer) -> None:
    """Without a subject there is no account in it; it needs no scopes and has no end."""
    account_id = await server.account()
    claims = await server.exchange(
        kind=PROJECT_KEY, credential=server.project_key, subject_account_id=account_id
    )
    assert claims.account_id == account_id
    assert claims.account_status == passport_pb2.ACCOUNT_STATUS_ACTIVE
    claims = await server.exchange(kind=PROJECT_KEY, credential=server.project_key)
    assert claims.account_id == ""
    assert claims.account_status == passport_pb2.ACCOUNT_STATUS_UNSPECIFIED
    assert not claims.scopes
    assert not claims.HasField("credential_expires_at_ns")


@pytest.mark.parametrize("subject", ["", "x", "01900000-0000-7000-8000-000000000000", "a" * 5_000])
async def test_project_key_for_an_account_that_is_not_there_is_not_found(
    subject: str, server: AuthServer
) -> None:
    """404 whatever the text."""
    fields = {"credential": server.project_key, "subject_account_id": subject}
    assert await server.exchange_code(kind=PROJECT_KEY, **fields) is Code.ACCOUNT_NOT_FOUND


async def test_subject_is_ignored_with_other_kinds(server: AuthServer) -> None:
    """A session and an account key are their own account, whatever the path says."""
    account_id, other_id = await server.account(), await server.account()
    token = (await server.session(account_id)).session_token
    secret = server.account_api_key(account_id).secret_text
    for kind, credential in ((SESSION, token), (ACCOUNT_KEY, secret)):
        for subject in (other_id, "x"):
            claims = await server.exchange(kind=kind, credential=credential, subject_account_id=subject)
            assert claims.account_id == account_id


async def test_passport_says_whether_the_credential_works_from_its_page(server: AuthServer) -> None:
    """Sessions by the project's list, account keys by their own, project keys never: to the letter."""
    await server.allow_pages(PAGE)
    account_id = await server.account()
    token = (await server.session(account_id)).session_token
    with_page = server.account_api_key(account_id, origins=[PAGE]).secret_text
    without = server.account_api_key(account_id).secret_text
    for kind, credential in ((SESSION, token), (ACCOUNT_KEY, with_page)):
        claims = await server.exchange(kind=kind, credential=credential, origin=PAGE)
        assert (claims.channel, claims.origin) == (passport_pb2.CHANNEL_BROWSER, PAGE)
        assert claims.origin_allowed
        for origin in ("null", "", "*", "https://evil.example", "http://shop.example", PAGE + ":443"):
            claims = await server.exchange(kind=kind, credential=credential, origin=origin)
            assert (claims.channel, claims.origin) == (passport_pb2.CHANNEL_BROWSER, origin)
            assert not claims.origin_allowed
    for kind, credential in ((ACCOUNT_KEY, without), (PROJECT_KEY, server.project_key)):
        assert not (await server.exchange(kind=kind, credential=credential, origin=PAGE)).origin_allowed


async def test_passport_of_a_key_has_its_own_limits(server: AuthServer) -> None:
    """As keys words them; a key without has none."""
    account_id = await server.account()
    limit = passport_pb2.CredentialLimit(rate_class=method_rule_pb2.RATE_CLASS_ORDER, per_minute_count=6_000)
    raised = server.account_api_key(account_id, limits=[limit]).secret_text
    plain = server.account_api_key(account_id).secret_text
    assert list((await server.exchange(kind=ACCOUNT_KEY, credential=raised)).limits) == [limit]
    assert not (await server.exchange(kind=ACCOUNT_KEY, credential=plain)).limits


@pytest.mark.parametrize("kind", [PROJECT_KEY, ACCOUNT_KEY])
@pytest.mark.parametrize(
    "credential", ["", "sk_", "sk_" + "A" * 48, "x" * 5_000, "sk_é", "sk_\x00" + "A" * 47]
)
async def test_key_without_the_right_shape_or_check_bytes_is_invalid_without_asking_anybody(
    kind: Any,  # noqa: ANN401 - an enum value
    credential: str,
    server: AuthServer,
) -> None:
    """Noise costs no look-up."""
    asked = server.keys.resolved_count
    assert await server.exchange_code(kind=kind, credential=credential) is Code.API_KEY_INVALID
    assert server.keys.resolved_count == asked


@pytest.mark.parametrize(
    ("state", "code", "asked_again"),
    [
        (resolution_pb2.API_KEY_STATE_UNKNOWN, Code.API_KEY_INVALID, False),
        (resolution_pb2.API_KEY_STATE_REVOKED, Code.API_KEY_REVOKED, False),
        (resolution_pb2.API_KEY_STATE_EXPIRED, Code.API_KEY_EXPIRED, True),
    ],
)
async def test_dead_key_is_told_by_its_state_and_only_a_hopeless_one_is_remembered(
    state: Any,  # noqa: ANN401 - an enum value
    code: Code,
    asked_again: bool,
    server: AuthServer,
) -> None:
    """For thirty seconds nobody is asked about it again."""
    pair = ApiKeyPair.from_seed(server.ids.seed())
    set_answer(server, pair, ACCOUNT_KEY, state=state)
    asked = server.keys.resolved_count
    for _ in range(2):
        assert await server.exchange_code(kind=ACCOUNT_KEY, credential=pair.secret_text) is code
    assert server.keys.resolved_count - asked == (2 if asked_again else 1)
    server.clock.advance(seconds=30)
    assert await server.exchange_code(kind=ACCOUNT_KEY, credential=pair.secret_text) is code
    assert server.keys.resolved_count - asked == (3 if asked_again else 2)


async def test_live_key_is_asked_about_every_time(server: AuthServer) -> None:
    """Nothing positive is remembered: a key is dead with the next request after its revocation."""
    account_id = await server.account()
    pair = server.account_api_key(account_id)
    for _ in range(2):
        asked = server.keys.resolved_count
        await server.exchange(kind=ACCOUNT_KEY, credential=pair.secret_text)
        assert server.keys.resolved_count == asked + 1
    set_answer(server, pair, ACCOUNT_KEY, state=resolution_pb2.API_KEY_STATE_REVOKED)
    assert await server.exchange_code(kind=ACCOUNT_KEY, credential=pair.secret_text) is Code.API_KEY_REVOKED


async def test_key_shown_as_another_kind_is_invalid_and_stays_good_as_its_own(server: AuthServer) -> None:
    """The header fixes the kind, in the memory of bad keys too."""
    account_id = await server.account()
    pair = server.account_api_key(account_id)
    assert await server.exchange_code(kind=PROJECT_KEY, credential=pair.secret_text) is Code.API_KEY_INVALID
    assert await server.exchange_code(kind=SESSION, credential=pair.secret_text) is Code.SESSION_INVALID
    assert (await server.exchange(kind=ACCOUNT_KEY, credential=pair.secret_text)).account_id == account_id


async def test_key_of_an_account_or_project_that_auth_does_not_know_is_invalid(server: AuthServer) -> None:
    """Also when it is the account of another project."""
    foreign_id = await server.account()
    await server.open_project()
    for account_id in (foreign_id, str(server.ids.uuid7())):
        secret = server.account_api_key(account_id).secret_text
        assert await server.exchange_code(kind=ACCOUNT_KEY, credential=secret) is Code.API_KEY_INVALID
    lost = server.project_api_key(str(server.ids.uuid7()))
    assert await server.exchange_code(kind=PROJECT_KEY, credential=lost) is Code.API_KEY_INVALID


@pytest.mark.parametrize(
    ("status", "code"),
    [("SUSPENDED", Code.TENANT_SUSPENDED), ("CANCELLED", Code.SUBSCRIPTION_CANCELLED), ("PAST_DUE", None)],
)
async def test_project_status_counts_for_every_kind_of_credential(
    status: str, code: Code | None, server: AuthServer
) -> None:
    """At once, and past due passes with its status in the passport."""
    account_id = await server.account()
    token = (await server.session(account_id)).session_token
    secret = server.account_api_key(account_id).secret_text
    await server.set_project_status(status)
    for kind, credential in ((SESSION, token), (ACCOUNT_KEY, secret), (PROJECT_KEY, server.project_key)):
        if code is None:
            claims = await server.exchange(kind=kind, credential=credential)
            assert claims.project_status == passport_pb2.PROJECT_STATUS_PAST_DUE
        else:
            assert await server.exchange_code(kind=kind, credential=credential) is code


async def test_account_status_counts_for_its_keys_and_is_told_to_its_project(server: AuthServer) -> None:
    """The account's own key is 403; the project key's passport says that it is suspended."""
    account_id = await server.account()
    secret = server.account_api_key(account_id).secret_text
    await server.rows("UPDATE account SET status = 'SUSPENDED', version = 7")
    assert await server.exchange_code(kind=ACCOUNT_KEY, credential=secret) is Code.ACCOUNT_SUSPENDED
    claims = await server.exchange(
        kind=PROJECT_KEY, credential=server.project_key, subject_account_id=account_id
    )
    assert claims.account_status == passport_pb2.ACCOUNT_STATUS_SUSPENDED
    assert claims.account_version == 7


async def test_exchange_without_a_kind_is_not_valid(server: AuthServer) -> None:
    """Only another service can ask so, and it is told."""
    assert await server.exchange_code(kind=0, credential="x") is Code.VALIDATION_ERROR


async def test_exchange_is_unavailable_while_keys_is_away(server: AuthServer) -> None:
    """Never a 401 for a key that may be good; a session needs no other service."""
    account_id = await server.account()
    token = (await server.session(account_id)).session_token
    secret = server.account_api_key(account_id).secret_text
    await server.keys.stop()
    for kind, credential in ((ACCOUNT_KEY, secret), (PROJECT_KEY, server.project_key)):
        assert await server.exchange_code(kind=kind, credential=credential) is Code.UNAVAILABLE
    assert (await server.exchange(kind=SESSION, credential=token)).account_id == account_id
    await server.keys.start()
    request = identity_pb2.ExchangeCredentialRequest(kind=ACCOUNT_KEY, credential=secret)
    await server.call_until_available(server.identities.ExchangeCredential, request, ("x-none", ""))


async def test_passport_keys_verify_what_auth_signs(server: AuthServer) -> None:
    """They are other keys than those of the tokens."""
    keys = (await server.identities.ListPassportKeys(identity_pb2.ListPassportKeysRequest())).keys
    request = identity_pb2.ExchangeCredentialRequest(kind=PROJECT_KEY, credential=server.project_key)
    passport = (await server.identities.ExchangeCredential(request)).passport
    assert [key.kid for key in keys] == [passport.kid]
    token_keys = await server.token_keys.GetJsonWebKeySet(identity_pb2.GetJsonWebKeySetRequest())
    assert passport.kid not in {key.kid for key in token_keys.keys}


async def test_use_of_an_api_key_is_noted_when_one_is_due_and_the_key_is_accepted(server: AuthServer) -> None:
    """Not from a page that the key does not list, nor while its account is suspended."""
    account_id = await server.account()
    due = server.account_api_key(account_id, origins=[PAGE], is_use_due=True)
    fresh = server.account_api_key(account_id, origins=[PAGE])
    for pair in (due, fresh):
        await server.exchange(kind=ACCOUNT_KEY, credential=pair.secret_text, origin="https://evil.example")
    await server.rows("UPDATE account SET status = 'SUSPENDED'")
    for pair in (due, fresh):
        await server.exchange_code(kind=ACCOUNT_KEY, credential=pair.secret_text)
    await server.rows("UPDATE account SET status = 'ACTIVE'")
    assert server.keys.uses == []
    for pair in (due, fresh):
        await server.exchange(kind=ACCOUNT_KEY, credential=pair.secret_text, origin=PAGE)
        await server.exchange(kind=ACCOUNT_KEY, credential=pair.secret_text)
    assert server.keys.uses == [due.public_key] * 2


async def test_use_of_a_project_key_is_noted_from_servers_alone(server: AuthServer) -> None:
    """It works on no page, and so is not used there; nor on an account that the project does not have."""
    pair = ApiKeyPair.from_seed(server.ids.seed())
    live = resolution_pb2.API_KEY_STATE_LIVE
    set_answer(server, pair, PROJECT_KEY, state=live, project_id=server.project_id, is_use_due=True)
    await server.allow_pages(PAGE)
    shown: dict[str, Any] = {"kind": PROJECT_KEY, "credential": pair.secret_text}
    await server.exchange(**shown, origin=PAGE)
    nobody = str(server.ids.uuid7())
    assert await server.exchange_code(**shown, subject_account_id=nobody) is Code.ACCOUNT_NOT_FOUND
    assert server.keys.uses == []
    await server.exchange(**shown)
    assert server.keys.uses == [pair.public_key]
