"""Vectors that are no bytes: what happens between requests, and which test proves each."""

from __future__ import annotations

from typing import Final

BEHAVIOUR: Final = (
    {
        "name": "replay",
        "when": "an envelope is sent again",
        "expected": "200 duplicate_request_id, same_payload true, the first outcome as original",
        "proven_by": "tests/integration/test_signed_stage.py::"
        "test_repeat_is_told_the_original_and_does_not_run",
    },
    {
        "name": "replay_with_other_bytes",
        "when": "another payload is sent under a request id that was used",
        "expected": "200 duplicate_request_id, same_payload false, the first outcome as original",
        "proven_by": "tests/integration/test_signed_stage.py::test_id_runs_once_whatever_it_is_sent_with",
    },
    {
        "name": "pinned_session_withdraws",
        "when": "a session key with a scope signs a withdrawal, under an ADMIN key too",
        "expected": "200 rejected_not_admin_rooted",
        "proven_by": "tests/contract/test_signing_table.py::"
        "test_signed_method_answers_each_sort_of_key_as_the_table_has_it",
    },
    {
        "name": "scoped_root_session_withdraws",
        "when": "an unpinned session key that a SCOPED key minted signs a withdrawal",
        "expected": "200 rejected_not_admin_rooted",
        "proven_by": "tests/contract/test_signing_table.py::"
        "test_signed_method_answers_each_sort_of_key_as_the_table_has_it",
    },
    {
        "name": "trading_only_admin_adds_master",
        "when": "an ADMIN, TRADING_ONLY key adds a master key",
        "expected": "200 rejected_role",
        "proven_by": "tests/integration/test_keys_signing_ends.py::"
        "test_master_keys_are_managed_by_admin_keys_with_full_access",
    },
    {
        "name": "expiry_to_the_nanosecond",
        "when": "a request is processed at valid_until_ns",
        "expected": "401 SESSION_EXPIRED; one nanosecond before, it is served",
        "proven_by": "tests/integration/test_keys_signing.py::"
        "test_session_key_signs_until_the_nanosecond_of_its_end",
    },
    {
        "name": "cap_plus_one",
        "when": "a master key with 32 live session keys mints another",
        "expected": "200 session_rejected_max_sessions",
        "proven_by": "tests/integration/test_keys_signing.py::"
        "test_forty_mints_for_the_last_place_have_one_winner",
    },
    {
        "name": "forty_mints_for_the_last_slot",
        "when": "forty mints race while one slot is free",
        "expected": "one request_completed, thirty-nine session_rejected_max_sessions",
        "proven_by": "tests/integration/test_keys_signing.py::"
        "test_forty_mints_for_the_last_place_have_one_winner",
    },
)
