"""Browser session tokens that are not, or not any more, what the key, the page and the account are now."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import pytest
from nacl.signing import SigningKey as Ed25519

from chassis.clock import NANOSECONDS_PER_SECOND
from chassis.keyring import KeyRing, SigningKey, create_key
from chassis.testing.databases import TemplateDatabases
from tests.cluster import Cluster
from tests.contract.channel_support import HOUR_SECONDS, PAGE, Caller, Page, make_page
from tests.platform_support import UNKNOWN_ID, make_world, private_cluster

WRITE: Final = "CreateWallet"


@pytest.fixture(scope="module")
async def cluster(template_databases: TemplateDatabases, short_directory: Path) -> AsyncIterator[Cluster]:
    """A platform of this module's own: its time is moved."""
    async with private_cluster(template_databases, short_directory) as running:
        yield running


@pytest.fixture
async def page(cluster: Cluster) -> Page:
    """A page whose token the tests take apart."""
    return await make_page(await make_world(cluster))


@pytest.fixture(scope="module")
def own_key(cluster: Cluster) -> SigningKey:
    """The key that the platform itself signs browser session tokens with."""
    return key_in(cluster.directory / "browser", cluster)


def key_in(directory: Path, cluster: Cluster) -> SigningKey:
    return KeyRing.load(directory).signing_key(cluster.clock.now_ns())


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode("ascii").rstrip("=")


def decoded(part: str) -> Any:  # noqa: ANN401
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def read(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims, unverified."""
    header, claims, _ = token.split(".")
    return decoded(header), decoded(claims)


def signed(seed: bytes, header: object, claims: object) -> str:
    """A token made by hand, so that no library's care stands in the way."""
    parts = [encoded(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims)]
    return ".".join([*parts, encoded(Ed25519(seed).sign(".".join(parts).encode()).signature)])


async def refuses(caller: Caller, page: Page, token: str, code: str = "SESSION_INVALID") -> None:
    """The token writes nothing, the page may read that, and the key goes on reading."""
    headers = page.reading | {"x-session-token": token}
    answer = await caller.ask(WRITE, headers)
    assert (answer.code, answer.status, answer.page) == (code, 401, PAGE)
    assert (await caller.ask("ListWallets", headers)).code == "OK"


async def test_token_made_by_hand_as_the_platform_makes_it_is_good(
    caller: Caller, page: Page, own_key: SigningKey
) -> None:
    """What the tests below change one thing of passes itself."""
    token = signed(own_key.seed, *read(page.token))
    assert (await caller.ask(WRITE, page.reading | {"x-session-token": token})).code == "OK"


async def test_token_is_refused_when_any_of_its_text_was_changed(caller: Caller, page: Page) -> None:
    """Characters of each part, missing and further parts, and what stands around it."""
    token = page.token
    header, claims, signature = token.split(".")
    changed = [
        token[:position] + ("A" if token[position] != "A" else "B") + token[position + 1 :]
        for position in range(3, len(token), 97)
    ]
    for text in (
        *changed,
        f"{header}.{claims}.",
        f"{header}.{claims}",
        f"{header}..{signature}",
        f"{token}.{signature}",
        f"{token}=",
        f"Bearer {token}",
        f"{token},{token}",
        f"{token} {token}",
        token * 20,
        "null",
        ".",
        "..",
        "é" if caller.transport == "REST" else "e",
    ):
        await refuses(caller, page, text)
    assert (await caller.ask(WRITE, page.writing)).code == "OK"


@pytest.mark.parametrize(
    "change",
    [
        {"typ": "sealgate-session+jwt"},
        {"typ": "JWT"},
        {"typ": None},
        {"kid": "nobody"},
        {"kid": None},
        {"kid": 7},
        {"alg": "none"},
        {"alg": "Ed25519"},
        {"alg": "ES256"},
        {"alg": None},
        {"crit": ["exp"]},
        {"jwk": {"kty": "OKP"}},
        {"jku": "https://evil.example/keys"},
        {"x5u": "https://evil.example/chain"},
    ],
    ids=str,
)
async def test_token_is_refused_for_its_header_alone(
    caller: Caller, page: Page, own_key: SigningKey, change: dict[str, Any]
) -> None:
    """Signed by ourselves, with nothing else wrong: another kind, no known key, a key that it brings."""
    header, claims = read(page.token)
    changed = {name: value for name, value in (header | change).items() if value is not None}
    await refuses(caller, page, signed(own_key.seed, changed, claims))


Change = Callable[[dict[str, Any]], object]
OTHER_KEY: Final = "pk_MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTJVXbvJ"


@pytest.mark.parametrize(
    "change",
    [
        *({"aud": "session"}, {"aud": ["browser"]}, {"aud": None}, {"iss": "other.test"}, {"iss": None}),
        *({"sub": UNKNOWN_ID}, {"sub": None}, {"sub": 1}, {"prj": UNKNOWN_ID}, {"prj": None}),
        *({"key": OTHER_KEY}, {"key": None}, {"key": ["pk"]}, {"org": "https://evil.example"}),
        *({"org": None}, {"org": "null"}, {"org": [PAGE]}, {"ons": 0}, {"ons": None}, {"ons": "1"}),
        *({"ver": None}, {"ver": 999}, {"ver": "1"}, {"ver": True}, {"exp": None}, {"exp": "2030"}),
        *({"exp": True}, {"exp": [4_070_908_800]}, {"exp": 1e400}),
    ],
    ids=str,
)
async def test_token_is_refused_for_its_claims_alone(
    caller: Caller, page: Page, own_key: SigningKey, change: dict[str, Any]
) -> None:
    """Signed by ourselves: another use, deployment, account, project, key, page, time, or none."""
    header, claims = read(page.token)
    changed = {name: value for name, value in (claims | change).items() if value is not None}
    await refuses(caller, page, signed(own_key.seed, header, changed))


@pytest.mark.parametrize("shift", [-1, 1])
@pytest.mark.parametrize("claim", ["ons", "ver"])
async def test_token_of_an_earlier_or_a_later_time_of_key_or_account_is_refused(
    caller: Caller, page: Page, own_key: SigningKey, claim: str, shift: int
) -> None:
    """It has to be of the very time that the key has had the page, and of the account's present version."""
    header, claims = read(page.token)
    changed = claims | {claim: claims[claim] + shift}
    await refuses(caller, page, signed(own_key.seed, header, changed))


@pytest.mark.parametrize("claims", [[], "text", 1, None, True, 4_070_908_800.5], ids=str)
async def test_claims_that_are_no_object_are_refused(
    caller: Caller, page: Page, own_key: SigningKey, claims: object
) -> None:
    """Also when we signed them."""
    header, _ = read(page.token)
    await refuses(caller, page, signed(own_key.seed, header, claims))


async def test_token_is_refused_without_the_key_for_browser_sessions(
    caller: Caller, page: Page, own_key: SigningKey, tmp_path: Path
) -> None:
    """Another's signature, the key of account sessions under either name, another deployment's, a hash."""
    header, claims = read(page.token)
    sessions = key_in(page.world.cluster.directory / "session", page.world.cluster)
    create_key(tmp_path / "keys", b"d" * 32, 0)
    other = key_in(tmp_path / "keys", page.world.cluster)
    await refuses(caller, page, signed(b"s" * 32, header, claims))
    await refuses(caller, page, signed(sessions.seed, header, claims))
    await refuses(caller, page, signed(sessions.seed, header | {"kid": sessions.kid}, claims))
    await refuses(caller, page, signed(own_key.seed, header | {"kid": sessions.kid}, claims))
    await refuses(caller, page, signed(other.seed, header | {"kid": other.kid}, claims))
    body = ".".join(encoded(json.dumps(part).encode()) for part in (header | {"alg": "HS256"}, claims))
    digest = hmac.digest(own_key.public_key, body.encode(), "sha256")
    await refuses(caller, page, f"{body}.{encoded(digest)}")


async def test_token_ends_at_its_hour_whatever_it_was_good_for(
    caller: Caller, cluster: Cluster, own_key: SigningKey
) -> None:
    """At the very second; then it is expired, but only for who could have used it."""
    page = await make_page(await make_world(cluster))
    header, claims = read(page.token)
    now_seconds = cluster.clock.now_ns() // NANOSECONDS_PER_SECOND
    ending = claims | {"iat": now_seconds - HOUR_SECONDS, "exp": now_seconds}
    await refuses(caller, page, signed(own_key.seed, header, ending), "SESSION_EXPIRED")
    of_another = signed(own_key.seed, header, ending | {"org": "https://evil.example"})
    await refuses(caller, page, of_another)
    await refuses(caller, page, signed(b"s" * 32, header, ending))
    cluster.clock.advance(seconds=HOUR_SECONDS - 1)
    assert (await caller.ask(WRITE, page.writing)).code == "OK"
    cluster.clock.advance(seconds=1)
    await refuses(caller, page, page.token, "SESSION_EXPIRED")
