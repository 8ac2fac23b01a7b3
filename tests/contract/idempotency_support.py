"""Requests with an idempotency key over REST and over gRPC, and a look at what is on record."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import grpc
import httpx

from chassis.methods import Envelope, HttpBinding, Method
from chassis.rpc.errors import error_from_rpc
from edge.routes import variable_names
from edge.translate import request_decoder
from tests.cluster import Cluster
from tests.contract.good_calls import METHODS, request_parts
from tests.platform_support import sql

KEY: Final = "idempotency-key"
REPLAYED: Final = "idempotent-replayed"
OMITTED: Final = "idempotent-omitted"
POSTS: Final[Mapping[str, HttpBinding]] = {
    name: binding
    for name, method in METHODS.items()
    for binding in method.bindings
    if binding.verb == "POST" and method.envelope in (Envelope.PLATFORM, Envelope.BROWSER)
}


@dataclass(frozen=True, slots=True)
class Sent:
    """An answer over gRPC: `OK` and the response's bytes, or the refusal's code and details."""

    code: str
    answer: bytes
    headers: Mapping[str, str]


async def post_rest(
    cluster: Cluster, full_name: str, fields: dict[str, Any], headers: Mapping[str, str]
) -> httpx.Response:
    """A call of a POST method over REST."""
    binding = POSTS[full_name]
    variables, _, body = request_parts(binding, fields)
    path = binding.template
    for name, value in zip(variable_names(binding.template), variables, strict=True):
        path = path.replace(f"{{{name}}}", value)
    sent = {**headers, "content-type": "application/json"} if body else dict(headers)
    return await cluster.http.request("POST", path, content=body, headers=sent)


async def post_grpc(
    cluster: Cluster, full_name: str, fields: dict[str, Any], headers: Sequence[tuple[str, str]]
) -> Sent:
    """The same call over gRPC."""
    method: Method = METHODS[full_name]
    binding = POSTS[full_name]
    variables, query, body = request_parts(binding, fields)
    decode = request_decoder(method, binding, variable_names(binding.template))
    rpc: Any = cluster.public[service_of(full_name)].unary_unary(full_name)
    message = decode(variables, query.encode(), body).SerializeToString()
    call = rpc(message, metadata=tuple(headers), timeout=30)
    try:
        answer = await call
    except grpc.aio.AioRpcError as failure:
        error = error_from_rpc(failure, full_name)
        details = json.dumps([[detail.path, detail.message] for detail in error.details])
        return Sent(error.code.value, details.encode(), _texts(failure.trailing_metadata()))
    return Sent("OK", answer, _texts(await call.trailing_metadata()))


def _texts(pairs: Any) -> dict[str, str]:  # noqa: ANN401  (grpc's own type says less than it gives)
    return {name: value for name, value in pairs or () if isinstance(value, str)}


def service_of(full_name: str) -> str:
    """The service of a method, as `auth`."""
    return full_name.split(".")[1]


async def row_counts(cluster: Cluster, service: str) -> dict[str, int]:
    """How many rows each table of a service has."""
    names = await sql(cluster, service, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    selects = [f"SELECT '{name}' AS name, count(*) AS count FROM {name}" for (name,) in names]  # noqa: S608
    rows = await sql(cluster, service, " UNION ALL ".join(selects))
    return {row["name"]: row["count"] for row in rows}


async def records(cluster: Cluster, service: str, project_id: str) -> list[tuple[str, str]]:
    """Key and outcome of what is on record for a project, in the order in which it came there."""
    rows = await sql(
        cluster,
        service,
        "SELECT idempotency_key, outcome FROM idempotency WHERE project_id = $1 ORDER BY created_at_ns, ctid",
        uuid.UUID(project_id),
    )
    return [(row["idempotency_key"], row["outcome"]) for row in rows]
