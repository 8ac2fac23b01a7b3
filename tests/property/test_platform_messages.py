"""Whatever message is sent to any method over gRPC: an answer of the contract, and never INTERNAL."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.struct_pb2 import Struct
from hypothesis import given, settings
from hypothesis import strategies as st

from chassis.errors import Code
from chassis.rpc.errors import error_from_rpc
from chassis.testing.databases import TemplateDatabases
from edge.translate import request_decoder
from tests.platform_support import (
    make_world,
    private_cluster,
)
from tests.property.platform_shots import (
    CREDENTIALS,
    METHODS,
    ODD_NUMBERS,
    ORIGINS,
    OWN_POSSESSION,
    OWN_TOKEN,
    QUICK,
    SCOPES,
    TEXTS,
    Shot,
    Target,
    costs_the_world,
    good_shot,
)


@pytest.fixture(scope="module")
async def target(template_databases: TemplateDatabases, short_directory: Path) -> AsyncIterator[Target]:
    async with private_cluster(template_databases, short_directory) as cluster:
        aimed = Target(await make_world(cluster))
        await aimed.renew()
        yield aimed


WIRE_TEXTS: Final = (TEXTS | SCOPES | ORIGINS).map(lambda text: text.encode("utf-8", "replace").decode())
INT32: Final = st.sampled_from([0, 1, 5, -1, 2**31 - 1, -(2**31), 999_999_999, 1_000_000_000])
INT64: Final = INT32 | st.sampled_from([2**63 - 1, -(2**63), 253_402_300_799, 1_800_000_000, 2**40])
WIRE_VALUES: Final[dict[int, st.SearchStrategy[Any]]] = {
    FieldDescriptor.TYPE_STRING: WIRE_TEXTS,
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_BYTES: st.binary(max_size=70),
    FieldDescriptor.TYPE_DOUBLE: st.floats() | ODD_NUMBERS.map(float),
    FieldDescriptor.TYPE_ENUM: INT32,
    FieldDescriptor.TYPE_INT32: INT32,
    FieldDescriptor.TYPE_INT64: INT64,
    FieldDescriptor.TYPE_UINT32: st.sampled_from([0, 1, 2**32 - 1]),
}


def spoil(draw: st.DrawFn, message: Any, name: str, depth: int = 0) -> None:  # noqa: ANN401
    """Gives a field a value that its type allows; messages within are filled here and there."""
    one = message.DESCRIPTOR.fields_by_name[name]
    if one.message_type is None:
        if one.is_repeated:
            getattr(message, name)[:] = draw(st.lists(WIRE_TEXTS, max_size=3))
        else:
            setattr(message, name, draw(WIRE_VALUES[one.type]))
        return
    message.ClearField(name)
    value = getattr(message, name)
    if one.message_type.GetOptions().map_entry:
        inner = [value[key] for key in draw(st.lists(WIRE_TEXTS, max_size=2))]
    elif one.is_repeated:
        inner = [value.add() for _ in range(draw(st.integers(0, 2)))]
    else:
        value.SetInParent()
        inner = [value]
    names = [part.name for part in one.message_type.fields]
    if one.message_type.GetOptions().map_entry:
        names = [part.name for part in one.message_type.fields_by_name["value"].message_type.fields]
    for part in inner if depth < 4 else []:
        for chosen in draw(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True)):
            spoil(draw, part, chosen, depth + 1)


def struct(*numbers: float, depth: int = 0, absent: bool = False) -> Struct:
    """What JSON cannot say: numbers that are none, a value without a kind, more levels than we take."""
    made = Struct()
    values = made.fields["list"].list_value.values
    for number in numbers:
        values.add().number_value = number
    if absent:
        values.add()
    inner = made
    for _ in range(depth):
        inner = inner.fields["in"].struct_value
    return made


STRUCTS: Final = st.sampled_from(
    [
        struct(float("nan")),
        struct(float("inf")),
        struct(-0.0, 1e308, 2.0**53, 2.0**53 + 2),
        struct(absent=True),
        struct(depth=30),
        struct(depth=32),
    ]
)
FIELDS: Final = [
    (method, method.bindings[0], one.name)
    for method in METHODS
    for one in method.descriptor.input_type.fields
]


@st.composite
def calls(draw: st.DrawFn) -> tuple[Shot, Any, bytes]:
    """A good shot's message with one field spoilt, or bytes behind it, or shown by somebody else."""
    method, binding, name = draw(st.sampled_from(FIELDS))
    shot = good_shot(method, binding)
    decode = request_decoder(method, replace(binding, has_body=True), ())
    message = decode([], b"", json.dumps(shot.members).encode())
    oddity = draw(st.sampled_from(["field"] * 8 + ["bytes", "credential"]))
    if oddity == "credential":
        shot.credential = draw(st.sampled_from(CREDENTIALS))
    elif oddity == "field" and name == "metadata" and draw(st.booleans()):
        getattr(message, name).MergeFromString(draw(STRUCTS).SerializeToString())
    elif oddity == "field":
        spoil(draw, message, name)
        shot.ids.pop(name, None)
    return shot, message, draw(st.binary(max_size=10)) if oddity == "bytes" else b""


@settings(QUICK, max_examples=350)
@given(call=calls())
async def test_any_message_is_answered_by_the_contract(target: Target, call: tuple[Shot, Any, bytes]) -> None:
    """Every method over gRPC with arbitrary messages, which say more than JSON can."""
    shot, message, behind = call
    for name in shot.ids:
        setattr(message, name, target.own_id(shot.method, name))
    if getattr(message, "token_id", "") == OWN_TOKEN:
        message.token_id = target.ids["token_id"]
    if getattr(message, "possession_signature", b"") == b64decode(OWN_POSSESSION):
        message.possession_signature = b64decode(target.ids["possession_signature"])
    rpc: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = target.world.cluster.public[
        shot.method.full_name.split(".")[1]
    ].unary_unary(shot.method.full_name)
    answer = rpc(
        message.SerializeToString() + behind,
        metadata=tuple(target.credential(shot.credential).items()),
        timeout=30,
    )
    code = await answer.code()
    if code is not grpc.StatusCode.OK:
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await answer
        error = error_from_rpc(failure.value, shot.method.full_name)
        assert not error.internal, f"a bare {code} came back"
        assert error.code is not Code.INTERNAL
        assert code.name == error.row.grpc_status
        assert failure.value.details() == error.row.message
    elif costs_the_world(shot.method):
        await target.renew()
