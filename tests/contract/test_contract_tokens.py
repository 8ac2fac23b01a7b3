"""Session tokens as others read them, and every way of making one that is not ours."""

from __future__ import annotations

import base64
import hmac
import json
import warnings
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest
from joserfc import jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import KeySet
from nacl.signing import SigningKey as Ed25519

from chassis.keyring import KeyRing, SigningKey, create_key
from chassis.testing.databases import TemplateDatabases
from tests.cluster import AUDIENCE, Cluster
from tests.platform_support import (
    BAD_TOKEN,
    UNKNOWN_ID,
    World,
    by_token,
    good,
    make_world,
    private_cluster,
    refused,
)

CURRENT: Final = "/api/v1/account/session"
JWKS: Final = "/.well-known/jwks.json"
CAP_SECONDS: Final = 30 * 24 * 3600
# Group order of edwards25519 (RFC 8032 section 5.1).
ORDER: Final = 2**252 + 27742317777372353535851937790883648493


@pytest.fixture(scope="module")
async def cluster(template_databases: TemplateDatabases, short_directory: Path) -> AsyncIterator[Cluster]:
    """A platform of this module's own: its time is moved."""
    async with private_cluster(template_databases, short_directory) as running:
        yield running


@pytest.fixture
async def world(cluster: Cluster) -> World:
    return await make_world(cluster)


@pytest.fixture
def own_key(cluster: Cluster) -> SigningKey:
    """The key that the platform itself signs session tokens with."""
    return KeyRing.load(cluster.directory / "session").signing_key(cluster.clock.now_ns())


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode("ascii").rstrip("=")


def decoded(part: str) -> Any:  # noqa: ANN401
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def read(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims, unverified."""
    header, claims, _ = token.split(".")
    return decoded(header), decoded(claims)


def signed(seed: bytes, header: dict[str, Any], claims: object) -> str:
    """A token made by hand, so that no library's care stands in the way."""
    parts = [encoded(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims)]
    return ".".join([*parts, encoded(Ed25519(seed).sign(".".join(parts).encode()).signature)])


async def refuses(world: World, token: str, code: str = "SESSION_INVALID") -> None:
    refused(await by_token(world.cluster, token, "GET", CURRENT), 401, code, challenge=BAD_TOKEN)


async def test_token_is_a_jwt_that_the_published_keys_verify(world: World) -> None:
    """EdDSA with the kid of a published key; its own typ and aud; `exp` is the absolute cap."""
    answer = await world.cluster.rest("GET", JWKS)
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json()) == ["keys"]
    # Those of browser sessions come after those of account sessions.
    key, _ = answer.json()["keys"]
    assert {**key, "x": "", "kid": ""} == {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": "",
        "kid": "",
        "alg": "EdDSA",
        "use": "sig",
    }
    with warnings.catch_warnings():
        # The library wants RFC 9864's newer name for the same algorithm.
        warnings.simplefilter("ignore", SecurityWarning)
        token = jwt.decode(world.token, KeySet.import_key_set(answer.json()), algorithms=["EdDSA"])
    assert token.header == {"alg": "EdDSA", "typ": "sealgate-session+jwt", "kid": key["kid"]}
    now_seconds = world.cluster.clock.now_ns() // 1_000_000_000
    assert token.claims == {
        "iss": AUDIENCE,
        "aud": "session",
        "sub": world.tenant.account_id,
        "sid": world.session_id,
        "prj": world.tenant.project_id,
        "iat": now_seconds,
        "exp": now_seconds + CAP_SECONDS,
    }


async def test_token_is_refused_when_any_of_its_text_was_changed(world: World) -> None:
    """Each character of each part counts, and nothing may stand around it."""
    token = world.token
    for position in range(0, len(token), 7):
        other = "A" if token[position] != "A" else "B"
        await refuses(world, token[:position] + other + token[position + 1 :])
    header, claims, signature = token.split(".")
    for text in (
        f"{header}.{claims}",
        f"{header}.{claims}.",
        f".{claims}.{signature}",
        f"{header}..{signature}",
        f"{token}.",
        f"{token}=",
        f"{token}.{signature}",
        f"{header}.{claims}.{signature[:-2]}",
        f"{header}=.{claims}.{signature}",
        token.replace(".", ","),
        token * 20,
    ):
        await refuses(world, text)
    good(await by_token(world.cluster, token, "GET", CURRENT))


async def test_signature_has_one_form(world: World) -> None:
    """Adding the group's order to the second half gives another text for the same equation."""
    header, claims, signature = world.token.split(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    grown = int.from_bytes(raw[32:], "little") + ORDER
    await refuses(world, f"{header}.{claims}.{encoded(raw[:32] + grown.to_bytes(32, 'little'))}")
    # The last character has bits to spare.
    last = "AQgw".index(signature[-1])
    await refuses(world, f"{header}.{claims}.{signature[:-1]}{'BRhx'[last]}")


async def test_token_is_refused_without_our_own_signature(world: World, own_key: SigningKey) -> None:
    """No algorithm, another one, another's key under our name, a key that the token brings along."""
    header, claims = read(world.token)
    stranger = Ed25519(b"s" * 32)
    body = ".".join(encoded(json.dumps(part).encode()) for part in ({**header, "alg": "none"}, claims))
    await refuses(world, f"{body}.")
    # The public key as the secret of a keyed hash, if somebody let the token choose.
    body = ".".join(encoded(json.dumps(part).encode()) for part in ({**header, "alg": "HS256"}, claims))
    for secret in (own_key.public_key, encoded(own_key.public_key).encode()):
        await refuses(world, f"{body}.{encoded(hmac.digest(secret, body.encode(), 'sha256'))}")
    for algorithm in ("HS256", "HS512", "ES256", "RS256", "Ed448", "eddsa", "", None, ["EdDSA"], 1):
        await refuses(world, signed(own_key.seed, {**header, "alg": algorithm}, claims))
    await refuses(world, signed(b"s" * 32, header, claims))
    public = {"kty": "OKP", "crv": "Ed25519", "x": encoded(bytes(stranger.verify_key))}
    for more in (
        {"jwk": public},
        {"jku": "https://evil.example/jwks.json"},
        {"x5u": "https://evil.example/chain.pem"},
        {"x5c": ["MIIB"]},
        {"crit": ["exp"]},
        {"b64": False, "crit": ["b64"]},
        {"cty": "JWT"},
    ):
        await refuses(world, signed(b"s" * 32, {**header, **more}, claims))
        # Not even when we signed it ourselves.
        await refuses(world, signed(own_key.seed, {**header, **more}, claims))


@pytest.mark.parametrize(
    "change",
    [
        {"typ": "JWT"},
        {"typ": "sealgate-browser+jwt"},
        {"typ": "application/sealgate-session+jwt"},
        {"typ": "SEALGATE-SESSION+JWT"},
        {"typ": None},
        {"kid": "unknown"},
        {"kid": ""},
        {"kid": None},
        {"kid": ["a"]},
        {"kid": 1},
    ],
    ids=str,
)
async def test_token_is_refused_for_its_header_alone(
    world: World, own_key: SigningKey, change: dict[str, Any]
) -> None:
    """Signed by ourselves, with nothing else wrong: a token of another kind, or of no known key."""
    header, claims = read(world.token)
    changed = {name: value for name, value in (header | change).items() if value is not None}
    await refuses(world, signed(own_key.seed, changed, claims))


@pytest.mark.parametrize(
    "change",
    [
        {"aud": "browser"},
        {"aud": ["session"]},
        {"aud": None},
        {"iss": "other.test"},
        {"iss": None},
        {"sub": UNKNOWN_ID},
        {"prj": UNKNOWN_ID},
        {"sid": UNKNOWN_ID},
        {"sid": "nonsense"},
        {"sid": 1},
        {"sid": None},
        {"sub": None},
        {"prj": None},
        {"exp": None},
        {"exp": "2030"},
        {"exp": True},
        {"exp": [4070908800]},
    ],
    ids=str,
)
async def test_token_is_refused_for_its_claims_alone(
    world: World, own_key: SigningKey, change: dict[str, Any]
) -> None:
    """Signed by ourselves: another use, another deployment, a session that is another's or none."""
    header, claims = read(world.token)
    changed = {name: value for name, value in (claims | change).items() if value is not None}
    await refuses(world, signed(own_key.seed, header, changed))


async def test_claims_that_are_no_object_are_refused(world: World, own_key: SigningKey) -> None:
    """Also when we signed them."""
    header, _ = read(world.token)
    no_objects: list[object] = [[], "text", 1, None, True, 4070908800.5]
    for claims in no_objects:
        await refuses(world, signed(own_key.seed, header, claims))


async def test_token_past_its_exp_has_expired(world: World, own_key: SigningKey) -> None:
    """Whatever the session's row says; and a later `exp` does not make the session live longer."""
    header, claims = read(world.token)
    now_seconds = world.cluster.clock.now_ns() // 1_000_000_000
    await refuses(world, signed(own_key.seed, header, claims | {"exp": now_seconds}), "SESSION_EXPIRED")
    longer = signed(own_key.seed, header, claims | {"exp": claims["exp"] * 2})
    good(await by_token(world.cluster, longer, "GET", CURRENT))
    world.cluster.clock.advance(seconds=CAP_SECONDS)
    await refuses(world, longer, "SESSION_EXPIRED")
    await refuses(world, world.token, "SESSION_EXPIRED")


async def test_token_of_another_deployment_is_refused(world: World, tmp_path: Path) -> None:
    """Its keys are not ours, even where the rest is word for word the same."""
    create_key(tmp_path / "keys", b"d" * 32, 0)
    other = KeyRing.load(tmp_path / "keys").signing_key(world.cluster.clock.now_ns())
    header, claims = read(world.token)
    await refuses(world, signed(other.seed, {**header, "kid": other.kid}, claims))


async def test_token_is_a_bearer_token_and_nothing_else(world: World) -> None:
    """In a key's header it is no key; the scheme's name is not case-sensitive, a second word is too much."""
    for name in ("x-api-key", "x-project-api-key", "x-device-key"):
        answer = await world.cluster.http.get(CURRENT, headers={name: world.token})
        refused(answer, 401, "API_KEY_INVALID", challenge=BAD_TOKEN)
    for scheme in ("bearer", "BEARER"):
        good(await world.cluster.rest("GET", CURRENT, authorization=f"{scheme} {world.token}"))
    for text in (world.token, f"Bearer {world.token} x", f"Bearer {world.token},{world.token}"):
        answer = await world.cluster.rest("GET", CURRENT, authorization=text)
        refused(answer, 401, "SESSION_INVALID", challenge=BAD_TOKEN)
