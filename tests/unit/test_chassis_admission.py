"""How many handlers run at once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from chassis.errors import Code, SealgateError
from chassis.methods import method_table
from chassis.rpc.errors import Handler
from chassis.rpc.pipeline import AdmissionStage
from sealgate.auth.v1 import identity_pb2

[METHOD] = method_table([identity_pb2.DESCRIPTOR.services_by_name["TokenKeyService"]]).values()


def admitted(stage: AdmissionStage, behaviour: Handler) -> asyncio.Task[Any]:
    """A call of a handler behind the stage."""

    async def run() -> object:
        # Neither the stage nor these handlers look at the call's context.
        return await stage.wrap(METHOD, behaviour)(b"", None)  # type: ignore[arg-type]

    return asyncio.create_task(run())


async def answer(request: Any, context: Any) -> str:  # noqa: ANN401
    """Answers at once."""
    return "done"


async def fail(request: Any, context: Any) -> str:  # noqa: ANN401
    """Fails at once."""
    raise ValueError


async def wait_for_ever(request: Any, context: Any) -> str:  # noqa: ANN401
    """Waits until it is cancelled."""
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


async def test_handler_is_refused_by_name_when_all_places_are_taken() -> None:
    """All methods of a listener share the places, and the refusal comes with a pause."""
    stage = AdmissionStage(2)
    running = [admitted(stage, wait_for_ever) for _ in range(2)]
    await asyncio.wait(running, timeout=0)
    with pytest.raises(SealgateError) as raised:
        await admitted(stage, answer)
    assert (raised.value.code, raised.value.retry_after_seconds) == (Code.OVERLOADED, 1)
    for task in running:
        task.cancel()
    await asyncio.wait(running)


async def test_place_is_given_back_however_a_handler_ends() -> None:
    """Answered, failed, cancelled or refused: what ended does not count."""
    stage = AdmissionStage(2)
    for _ in range(3):
        assert await admitted(stage, answer) == "done"
        with pytest.raises(ValueError, match=r"^$"):
            await admitted(stage, fail)
        running = [admitted(stage, wait_for_ever) for _ in range(2)]
        await asyncio.wait(running, timeout=0)
        with pytest.raises(SealgateError):
            await admitted(stage, answer)
        for task in running:
            task.cancel()
        await asyncio.wait(running)
