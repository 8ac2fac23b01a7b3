"""Passports: believed when auth signed them for this deployment and their time is not over."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest
from nacl.signing import SigningKey as NaclSigningKey
from nacl.signing import VerifyKey

from chassis.errors import Code, SealgateError
from chassis.identity import PassportSigner, PassportVerifier, identity_from_claims
from chassis.keyring import KeyRing, SigningKey
from chassis.methods import CredentialKind
from chassis.testing.fakes import FakeClock
from sealgate.common.v1 import method_rule_pb2, passport_pb2

AUDIENCE = "test-deployment"
OLD = SigningKey.from_seed(b"o" * 32, 0)
PROJECT_ID = "0189abcd-0000-7000-8000-000000000001"
ACCOUNT_ID = "0189abcd-0000-7000-8000-000000000002"


class Auth:
    """Auth's public keys, and how often it was asked for them."""

    def __init__(self, *keys: SigningKey) -> None:
        self.keys = {key.kid: key.public_key for key in keys}
        self.asked_count = 0
        self.failure: SealgateError | None = None
        self.gate: asyncio.Event | None = None

    async def public_keys(self) -> Mapping[str, bytes]:
        """See `chassis.identity.KeyLookup`."""
        self.asked_count += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return dict(self.keys)


def claims_at(clock: FakeClock, **changes: object) -> passport_pb2.PassportClaims:
    """Claims of a session that lives for 30 seconds."""
    claims = passport_pb2.PassportClaims(
        audience=AUDIENCE,
        project_id=PROJECT_ID,
        account_id=ACCOUNT_ID,
        account_number=7,
        credential_kind=method_rule_pb2.CREDENTIAL_KIND_ACCOUNT_SESSION,
        credential_id="a-session",
        scopes=["account:read", "wallet:read"],
        modules=["wallet"],
        channel=passport_pb2.CHANNEL_SERVER,
        issued_at_ns=clock.now_ns(),
        expires_at_ns=clock.now_ns() + 30_000_000_000,
        project_status=passport_pb2.PROJECT_STATUS_ACTIVE,
        account_status=passport_pb2.ACCOUNT_STATUS_ACTIVE,
        account_version=3,
    )
    for name, value in changes.items():
        setattr(claims, name, value)
    return claims


def signed(clock: FakeClock, *keys: SigningKey, **changes: object) -> bytes:
    """A serialized passport, signed as auth does with these keys."""
    signer = PassportSigner(KeyRing(keys or (OLD,)), clock)
    return signer.sign(claims_at(clock, **changes)).SerializeToString()


async def refused(verifier: PassportVerifier, passport: bytes) -> str:
    """The reason for the log with which a passport is refused."""
    with pytest.raises(SealgateError) as raised:
        await verifier.verify(passport)
    assert raised.value.code is Code.CREDENTIAL_NOT_ACCEPTED
    return raised.value.internal


@pytest.fixture
def auth() -> Auth:
    """Auth with one key."""
    return Auth(OLD)


@pytest.fixture
def verifier(clock: FakeClock, auth: Auth) -> PassportVerifier:
    """A service's verifier."""
    return PassportVerifier(AUDIENCE, clock, auth.public_keys)


async def test_passport_becomes_an_identity_when_auth_signed_it(
    clock: FakeClock, verifier: PassportVerifier
) -> None:
    """Every claim arrives in the type that handlers use."""
    identity = await verifier.verify(
        signed(clock, subaccount_index=2, origin="https://a.example", channel=passport_pb2.CHANNEL_BROWSER)
    )
    assert (str(identity.project_id), str(identity.account_id)) == (PROJECT_ID, ACCOUNT_ID)
    assert identity.account() == identity.account_id
    assert (identity.account_number, identity.account_version) == (7, 3)
    assert (identity.kind, identity.credential_id) == (CredentialKind.ACCOUNT_SESSION, "a-session")
    assert sorted(identity.scopes) == ["account:read", "wallet:read"]
    assert sorted(identity.modules) == ["wallet"]
    assert (identity.subaccount_index, identity.browser, identity.origin) == (2, True, "https://a.example")
    assert identity.expires_at_ns - identity.issued_at_ns == 30_000_000_000
    assert identity.credential_expires_at_ns is None


def test_identity_tells_absent_from_zero(clock: FakeClock) -> None:
    """Pinned to subaccount 0 is not unpinned; a project key acts on no account."""
    assert identity_from_claims(claims_at(clock)).subaccount_index is None
    assert identity_from_claims(claims_at(clock, subaccount_index=0)).subaccount_index == 0
    assert identity_from_claims(claims_at(clock, credential_expires_at_ns=0)).credential_expires_at_ns == 0
    without_account = identity_from_claims(claims_at(clock, account_id=""))
    with pytest.raises(SealgateError) as raised:
        without_account.account()
    assert raised.value.code is Code.INTERNAL


@pytest.mark.parametrize(
    "changes",
    [
        {"project_id": ""},
        {"project_id": "nonsense"},
        {"account_id": "nonsense"},
        {"credential_kind": method_rule_pb2.CREDENTIAL_KIND_UNSPECIFIED},
        {"credential_kind": 99},
    ],
    ids=str,
)
async def test_passport_is_refused_when_its_claims_make_no_identity(
    clock: FakeClock, verifier: PassportVerifier, changes: dict[str, object]
) -> None:
    """A good signature over claims that auth cannot mean is refused all the same."""
    await refused(verifier, signed(clock, **changes))


async def test_signature_is_the_one_that_the_design_words(clock: FakeClock) -> None:
    """Ed25519 over the domain, a zero byte and the claims as they were sent."""
    passport = PassportSigner(KeyRing([OLD]), clock).sign(claims_at(clock))
    VerifyKey(OLD.public_key).verify(b"sealgate/passport/v1\x00" + passport.claims, passport.signature)
    assert passport.kid == OLD.kid


@pytest.mark.parametrize("domain", [b"", b"sealgate/passport/v1", b"sealgate/passport/v2\x00"])
async def test_passport_is_refused_when_its_signature_is_over_another_domain(
    clock: FakeClock, verifier: PassportVerifier, domain: bytes
) -> None:
    """A signature that auth's key made for another purpose is no passport."""
    claims = claims_at(clock).SerializeToString()
    signature = NaclSigningKey(OLD.seed).sign(domain + claims).signature
    passport = passport_pb2.Passport(kid=OLD.kid, claims=claims, signature=signature)
    assert await refused(verifier, passport.SerializeToString()) == "bad passport signature"


async def test_passport_is_refused_when_any_bit_of_it_is_flipped(
    clock: FakeClock, verifier: PassportVerifier
) -> None:
    """No bit of a passport is without meaning."""
    passport = signed(clock)
    await verifier.verify(passport)
    accepted = []
    for position in range(len(passport) * 8):
        flipped = bytearray(passport)
        flipped[position // 8] ^= 1 << position % 8
        try:
            await verifier.verify(bytes(flipped))
        except SealgateError as error:
            assert error.code is Code.CREDENTIAL_NOT_ACCEPTED  # noqa: PT017  (each of them)
        else:
            accepted.append(position)
    assert accepted == []


@pytest.mark.parametrize("cut", [0, 1, 10, -1, -64])
async def test_passport_is_refused_when_it_is_cut_short(
    clock: FakeClock, verifier: PassportVerifier, cut: int
) -> None:
    """Neither a part of a passport nor nothing at all is a passport."""
    await refused(verifier, signed(clock)[:cut])


@pytest.mark.parametrize("audience", ["", "test", "test-deployment2", "TEST-DEPLOYMENT"])
async def test_passport_is_refused_when_it_is_for_another_deployment(
    clock: FakeClock, verifier: PassportVerifier, audience: str
) -> None:
    """The same keys in two deployments do not make them one."""
    assert await refused(verifier, signed(clock, audience=audience)) == "passport of another deployment"


async def test_passport_expires_to_the_nanosecond(clock: FakeClock, verifier: PassportVerifier) -> None:
    """It works until the last nanosecond before its end, and not in the one that ends it."""
    passport = signed(clock)
    clock.advance_ns(30_000_000_000 - 1)
    assert (await verifier.verify(passport)).credential_id == "a-session"
    clock.advance_ns(1)
    assert await refused(verifier, passport) == "expired passport"
    assert await refused(verifier, passport) == "expired passport"


async def test_passport_is_refused_when_it_arrives_expired(
    clock: FakeClock, verifier: PassportVerifier
) -> None:
    """The first look already minds the time, and remembers nothing."""
    passport = signed(clock, expires_at_ns=clock.now_ns())
    assert await refused(verifier, passport) == "expired passport"
    assert len(verifier._verdicts) == 0


async def test_verdict_is_remembered_when_a_passport_comes_again(
    clock: FakeClock, auth: Auth, verifier: PassportVerifier
) -> None:
    """A distinct passport costs one verification: later looks need neither keys nor curve."""
    passport = signed(clock)
    first = await verifier.verify(passport)
    auth.keys.clear()
    verifier._keys = {}
    assert await verifier.verify(passport) is first


async def test_verdict_is_forgotten_when_its_passport_expired(
    clock: FakeClock, verifier: PassportVerifier
) -> None:
    """An expired passport that is shown again leaves the memory."""
    passport = signed(clock)
    await verifier.verify(passport)
    assert len(verifier._verdicts) == 1
    clock.advance(seconds=31)
    await refused(verifier, passport)
    assert len(verifier._verdicts) == 0


async def test_verdicts_are_bounded_when_very_many_passports_come(
    clock: FakeClock, verifier: PassportVerifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the bound the oldest verdict goes first."""
    monkeypatch.setattr("chassis.identity.PASSPORT_VERDICTS_COUNT", 100)
    ring = KeyRing([OLD])
    signer = PassportSigner(ring, clock)
    passports = [
        signer.sign(claims_at(clock, account_number=number)).SerializeToString() for number in range(110)
    ]
    for passport in passports:
        await verifier.verify(passport)
    assert len(verifier._verdicts) == 100
    assert passports[9] not in verifier._verdicts
    assert passports[10] in verifier._verdicts


async def test_bad_passports_are_not_remembered(clock: FakeClock, verifier: PassportVerifier) -> None:
    """Rubbish cannot push good verdicts out."""
    for number in range(100):
        await refused(verifier, signed(clock, audience=f"other-{number}"))
        await refused(verifier, b"rubbish %d" % number)
    assert len(verifier._verdicts) == 0


async def test_keys_are_asked_for_once_a_second_at_most_when_a_key_is_unknown(
    clock: FakeClock, auth: Auth, verifier: PassportVerifier
) -> None:
    """Passports of strangers do not make a service hammer auth."""
    stranger = SigningKey.from_seed(b"x" * 32, 0)
    for _ in range(50):
        assert await refused(verifier, signed(clock, stranger)) == "passport of an unknown key"
    assert auth.asked_count == 1
    clock.advance_ns(999_999_999)
    await refused(verifier, signed(clock, stranger))
    assert auth.asked_count == 1
    clock.advance_ns(1)
    await refused(verifier, signed(clock, stranger))
    assert auth.asked_count == 2
    await verifier.verify(signed(clock))
    assert auth.asked_count == 2


async def test_keys_are_asked_for_once_when_many_passports_come_at_once(
    clock: FakeClock, auth: Auth, verifier: PassportVerifier
) -> None:
    """A service that starts under load asks auth one question, and all wait for its answer."""
    auth.gate = asyncio.Event()
    passports = [signed(clock, account_number=number) for number in range(100)]
    waiting = [asyncio.create_task(verifier.verify(passport)) for passport in passports]
    while auth.asked_count == 0:
        await asyncio.wait(waiting, timeout=0)
    # One that gives up takes nothing from the others.
    waiting.pop(0).cancel()
    await asyncio.wait(waiting, timeout=0)
    auth.gate.set()
    identities = await asyncio.gather(*waiting)
    assert [identity.account_number for identity in identities] == list(range(1, 100))
    assert auth.asked_count == 1


async def test_keys_are_asked_for_again_when_the_last_answer_failed(
    clock: FakeClock, auth: Auth, verifier: PassportVerifier
) -> None:
    """While auth is down a good passport is UNAVAILABLE, never refused; when it is back, it works."""
    auth.failure = SealgateError(Code.UNAVAILABLE)
    for _ in range(2):
        with pytest.raises(SealgateError) as raised:
            await verifier.verify(signed(clock))
        assert raised.value.code is Code.UNAVAILABLE
    auth.failure = None
    assert (await verifier.verify(signed(clock))).account_number == 7
    assert auth.asked_count == 3


async def test_rotation_loses_no_passport(clock: FakeClock) -> None:
    """The new key is published before it signs, and the old one verifies what it signed."""
    new = SigningKey.from_seed(b"n" * 32, clock.now_ns() + 10_000_000_000)
    auth = Auth(OLD, new)
    verifier = PassportVerifier(AUDIENCE, clock, auth.public_keys)
    signer = PassportSigner(KeyRing([OLD, new]), clock)
    by_old = signer.sign(claims_at(clock))
    assert by_old.kid == OLD.kid
    clock.advance(seconds=10)
    by_new = signer.sign(claims_at(clock))
    assert by_new.kid == new.kid
    for passport in (by_new, by_old):
        await verifier.verify(passport.SerializeToString())
    assert auth.asked_count == 1


async def test_new_key_is_fetched_when_a_passport_names_it(
    clock: FakeClock, auth: Auth, verifier: PassportVerifier
) -> None:
    """A key that was made after a service started is learnt from auth by need."""
    await verifier.verify(signed(clock))
    new = SigningKey.from_seed(b"n" * 32, 0)
    auth.keys[new.kid] = new.public_key
    clock.advance(seconds=1)
    await verifier.verify(signed(clock, new))
    assert auth.asked_count == 2


async def test_withdrawn_key_verifies_nothing_new_when_keys_were_fetched_again(
    clock: FakeClock, auth: Auth, verifier: PassportVerifier
) -> None:
    """What auth does not publish any more is not believed."""
    await verifier.verify(signed(clock))
    del auth.keys[OLD.kid]
    clock.advance(seconds=1)
    await refused(verifier, signed(clock, SigningKey.from_seed(b"x" * 32, 0)))
    assert await refused(verifier, signed(clock, account_number=8)) == "passport of an unknown key"


async def test_withdrawn_key_is_believed_for_a_minute_at_most(
    clock: FakeClock, auth: Auth, verifier: PassportVerifier
) -> None:
    """Also where no passport ever names a new key; nobody but the first asks for the renewal."""
    new = SigningKey.from_seed(b"n" * 32, 0)
    auth.keys[new.kid] = new.public_key
    await verifier.verify(signed(clock))
    del auth.keys[OLD.kid]
    clock.advance_ns(60_000_000_000 - 1)
    await verifier.verify(signed(clock, account_number=8))
    clock.advance_ns(1)
    assert await refused(verifier, signed(clock, account_number=9)) == "passport of an unknown key"
    for number in range(10, 20):
        await verifier.verify(signed(clock, new, account_number=number))
    assert auth.asked_count == 2


async def test_keys_stay_when_they_cannot_be_renewed(
    clock: FakeClock, auth: Auth, verifier: PassportVerifier
) -> None:
    """A good passport is good while auth does not answer, which is asked once a minute then."""
    await verifier.verify(signed(clock))
    auth.failure = SealgateError(Code.UNAVAILABLE)
    clock.advance(seconds=60)
    for number in range(10):
        await verifier.verify(signed(clock, account_number=number))
        clock.advance(seconds=1)
    assert auth.asked_count == 2
    clock.advance(seconds=60)
    await verifier.verify(signed(clock, account_number=20))
    assert auth.asked_count == 3


@pytest.mark.parametrize(
    ("kind", "ends_revoked", "code"),
    [
        (method_rule_pb2.CREDENTIAL_KIND_ACCOUNT_API_KEY, True, Code.API_KEY_REVOKED),
        (method_rule_pb2.CREDENTIAL_KIND_ACCOUNT_API_KEY, False, Code.API_KEY_EXPIRED),
        (method_rule_pb2.CREDENTIAL_KIND_PROJECT_KEY, False, Code.API_KEY_EXPIRED),
        (method_rule_pb2.CREDENTIAL_KIND_ACCOUNT_SESSION, False, Code.SESSION_EXPIRED),
    ],
)
async def test_credential_that_ended_on_the_way_is_refused_as_what_it_is(
    clock: FakeClock, verifier: PassportVerifier, kind: int, ends_revoked: bool, code: Code
) -> None:
    """A request that is under way at that instant is told what the next one is told by auth."""
    end_ns = clock.now_ns() + 1_000_000
    passport = signed(
        clock,
        credential_kind=kind,
        expires_at_ns=end_ns,
        credential_expires_at_ns=end_ns,
        ends_revoked=ends_revoked,
    )
    clock.advance_ns(999_999)
    await verifier.verify(passport)
    clock.advance_ns(1)
    with pytest.raises(SealgateError) as raised:
        await verifier.verify(passport)
    assert raised.value.code is code


async def test_look_up_has_its_own_time_when_the_first_request_has_none_left(
    clock: FakeClock, verifier: PassportVerifier
) -> None:
    """The question to auth runs in no request's context, so that one deadline does not end it for all."""
    from chassis.rpc import context as request_context

    seen: list[object] = []

    async def look_up() -> Mapping[str, bytes]:
        seen.append(request_context.current_or_none())
        return {OLD.kid: OLD.public_key}

    verifier._look_up_keys = look_up
    token = request_context._current.set(
        request_context.RequestContext(identity_from_claims(claims_at(clock)).project_id)
    )
    try:
        await verifier.verify(signed(clock))
    finally:
        request_context._current.reset(token)
    assert seen == [None]
