"""Refusals that the edge found before there was a message to send.

A request whose JSON is wrong is a request all the same: it has to be somebody's, whom the method admits,
and it counts. So the edge calls the method with what it would have answered, and gets that answer when
all of this has been looked at.
"""

from __future__ import annotations

from typing import Any

import grpc

from chassis.errors import Code, SealgateError
from chassis.methods import Method
from chassis.rpc import metadata
from chassis.rpc.errors import Handler, error_from_status

Context = grpc.aio.ServicerContext[Any, Any]


class RefusalStage:
    """Raises the refusal that came in place of a message; for the internal listener only."""

    def wrap(self, method: Method, handler: Handler) -> Handler:
        """See `chassis.rpc.pipeline.Stage.wrap`."""
        del method

        async def answer(request: Any, context: Context) -> Any:  # noqa: ANN401
            for name, value in context.invocation_metadata() or ():
                if name == metadata.REFUSAL and isinstance(value, bytes):
                    # Whatever it is, the message is not what the caller asked for.
                    raise error_from_status(value) or SealgateError(
                        Code.INTERNAL, internal="a refusal that is none"
                    )
            return await handler(request, context)

        return answer
