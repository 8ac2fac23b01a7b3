"""What stays on record of an answer."""

from __future__ import annotations

from chassis.rpc.outcomes import OutcomeFields
from sealgate.keys.v1 import session_signature_pb2, signing_key_pb2

ANSWER = session_signature_pb2.CreateSessionApiKeyResponse


def test_secret_is_left_out_even_where_there_is_room_for_it() -> None:
    """An outcome's message that had a field for the secret would not get it either."""
    answer = ANSWER(
        success=True,
        status="request_completed",
        api_key=signing_key_pb2.SessionApiKey(public_key="pk_1"),
        secret_key="sk_1",
    )
    answer.details.add(path="name", message="is odd")
    kept = ANSWER.FromString(OutcomeFields(ANSWER.DESCRIPTOR, ANSWER).serialized(answer))
    assert (kept.api_key, list(kept.details)) == (answer.api_key, list(answer.details))
    assert not kept.HasField("secret_key")
    assert (kept.success, kept.status) == (False, "")
