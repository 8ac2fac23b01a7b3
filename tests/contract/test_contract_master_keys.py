"""The first master key of an account, registered over REST by its project."""

from __future__ import annotations

import pytest

from tests.cluster import AUDIENCE, Cluster
from tests.platform_support import World, good, make_world, refused
from tests.signing_support import SigningKeyPair, base64_of, new_pair, possession
from tests.signing_world import register_master


@pytest.fixture
async def world(cluster: Cluster) -> World:
    return await make_world(cluster)


def fields_of(world: World, pair: SigningKeyPair) -> dict[str, str]:
    """What registers a key, to the letter."""
    signature = possession(pair, AUDIENCE, world.tenant.account_id)
    return {"public_key": pair.text, "possession_signature": base64_of(signature)}


async def test_account_gets_one_master_key_by_its_project(world: World) -> None:
    """ADMIN and FULL_ACCESS; the same again answers the same, and another is refused for ever."""
    pair = new_pair()
    made = good(await register_master(world, pair), 201)
    assert (made["public_key"], made["reach"], made["role"]) == (pair.text, "ADMIN", "FULL_ACCESS")
    assert good(await register_master(world, pair), 201) == made
    refused(await register_master(world, new_pair()), 409, "MASTER_KEY_EXISTS")
    listed = await world.by_key("GET", "/api/v1/auth/master-keys")
    assert [key["public_key"] for key in listed.json()["master_keys"]] == [pair.text]


@pytest.mark.parametrize("field", ["public_key", "possession_signature"])
@pytest.mark.parametrize("how", ["url-safe", "unpadded", "line end", "number", "absent", "short"])
async def test_key_is_refused_by_its_member_when_it_is_not_in_form(
    world: World, field: str, how: str
) -> None:
    """In this family bytes of another form are as any value of another form."""
    fields: dict[str, object] = {**fields_of(world, new_pair())}
    text = str(fields[field])
    fields[field] = {
        "url-safe": "-_" + text[2:],
        "unpadded": text.rstrip("="),
        "line end": text + "\n",
        "number": 5,
        "absent": None,
        "short": base64_of(bytes(31)),
    }[how]
    answer = await world.by_project("POST", world.account("/master-key"), fields)
    refused(answer, 400, "VALIDATION_ERROR", paths=[field])


async def test_key_is_refused_unless_it_signs_for_this_account_itself(world: World, cluster: Cluster) -> None:
    """A proof by another key, for another account or another deployment is none."""
    pair, other = new_pair(), await make_world(cluster)
    account_id = world.tenant.account_id
    for signature in (
        possession(new_pair(), AUDIENCE, account_id),
        possession(pair, AUDIENCE, other.tenant.account_id),
        possession(pair, "elsewhere.test", account_id),
    ):
        sent = {"public_key": pair.text, "possession_signature": base64_of(signature)}
        answer = await world.by_project("POST", world.account("/master-key"), sent)
        refused(answer, 400, "VALIDATION_ERROR", paths=["possession_signature"])
    good(await register_master(world, pair), 201)


@pytest.mark.parametrize(
    "point",
    [bytes(32), b"\x01" + bytes(31), b"\xff" * 32, b"\xec" + b"\xff" * 30 + b"\x7f"],
    ids=["zero", "identity", "not canonical", "order two"],
)
async def test_key_is_refused_when_it_is_no_point_of_prime_order(world: World, point: bytes) -> None:
    """Whoever registers such a key could have any signature hold."""
    fields = fields_of(world, new_pair()) | {"public_key": base64_of(point)}
    answer = await world.by_project("POST", world.account("/master-key"), fields)
    refused(answer, 400, "VALIDATION_ERROR", paths=["public_key"])
