-- name: ensure_owner
-- Makes the owner's row where there is none; waits for one that is just being made.
INSERT INTO owner (owner_id, kind) VALUES ($1, $2)
ON CONFLICT (owner_id, kind) DO NOTHING;

-- name: lock_owner
-- Takes the lock under which an owner's keys are added, changed and ended, and reads the fence with
-- nothing in flight.
SELECT minimum_account_version FROM owner
WHERE owner_id = $1 AND kind = $2
FOR NO KEY UPDATE;

-- name: raise_fence
-- Locks the account's row as issuing does, so it waits for every issue in flight; the fence never goes
-- down.
INSERT INTO owner (owner_id, kind, minimum_account_version) VALUES ($1, 'ACCOUNT', $2)
ON CONFLICT (owner_id, kind) DO UPDATE
SET minimum_account_version = greatest(owner.minimum_account_version, excluded.minimum_account_version);

-- name: count_live_keys
-- The owner's keys that work at $3; to be counted under the owner's lock.
SELECT count(*) FROM api_key
WHERE owner_id = $1 AND kind = $2 AND ended_at_ns IS NULL
  AND (expires_at_ns IS NULL OR expires_at_ns > $3)
  AND (retires_at_ns IS NULL OR retires_at_ns > $3);

-- name: insert_key
-- A new key.
INSERT INTO api_key (
  public_key, owner_id, kind, project_id, account_id, name, scopes, origins, subaccount_index,
  expires_at_ns, created_at_ns, updated_at_ns, created_by_kind, created_by_id, session_public_key,
  origins_since_ns, read_per_minute_count, write_per_minute_count, order_per_minute_count,
  browser_session_per_minute_count
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11, $12, $13, $14, $15, $16, $17, $18, $19);

-- name: list_keys
-- The owner's keys that were neither ended nor rotated out by $3, oldest first. Of more than $4 those that expired by $3 are left
-- out first, oldest ones first.
SELECT
  public_key, project_id, account_id, name, scopes, origins, subaccount_index,
  expires_at_ns, created_at_ns, updated_at_ns, last_used_at_ns, ended_at_ns,
  replaced_by, retires_at_ns, session_public_key, origins_since_ns,
  read_per_minute_count, write_per_minute_count, order_per_minute_count, browser_session_per_minute_count
FROM (
  SELECT * FROM api_key
  WHERE owner_id = $1 AND kind = $2 AND ended_at_ns IS NULL
    AND (retires_at_ns IS NULL OR retires_at_ns > $3)
  ORDER BY (expires_at_ns IS NULL OR expires_at_ns > $3) DESC, issue_number DESC
  LIMIT $4
) AS listed
ORDER BY issue_number;

-- name: find_open_key
-- One of the owner's keys, unless it was ended or rotated out by $4.
SELECT
  public_key, project_id, account_id, name, scopes, origins, subaccount_index,
  expires_at_ns, created_at_ns, updated_at_ns, last_used_at_ns, ended_at_ns,
  replaced_by, retires_at_ns, session_public_key, origins_since_ns,
  read_per_minute_count, write_per_minute_count, order_per_minute_count, browser_session_per_minute_count
FROM api_key
WHERE public_key = $1 AND owner_id = $2 AND kind = $3 AND ended_at_ns IS NULL
  AND (retires_at_ns IS NULL OR retires_at_ns > $4);

-- name: find_undeleted_key
-- One of the owner's keys, unless it was deleted or ended with its session key; one that was rotated is
-- found for ever.
SELECT
  public_key, project_id, account_id, name, scopes, origins, subaccount_index,
  expires_at_ns, created_at_ns, updated_at_ns, last_used_at_ns, ended_at_ns,
  replaced_by, retires_at_ns, session_public_key, origins_since_ns,
  read_per_minute_count, write_per_minute_count, order_per_minute_count, browser_session_per_minute_count
FROM api_key
WHERE public_key = $1 AND owner_id = $2 AND kind = $3 AND (end_reason IS NULL OR end_reason = 'ROTATED');

-- name: update_key
-- New rights of a key; read and written under the owner's lock.
UPDATE api_key SET name = $2, scopes = $3, origins = $4, origins_since_ns = $5, updated_at_ns = $6
WHERE public_key = $1;

-- name: limit_key
-- New limits of a key in the place of all that it had; written under the owner's lock.
UPDATE api_key SET
  read_per_minute_count = $2, write_per_minute_count = $3, order_per_minute_count = $4,
  browser_session_per_minute_count = $5
WHERE public_key = $1;

-- name: retire_key
-- Gives a key its successor $2 and the time $3 from which it does not work any more.
UPDATE api_key SET replaced_by = $2, retires_at_ns = $3
WHERE public_key = $1 AND replaced_by IS NULL;

-- name: end_retired_keys
-- Ends the owner's keys whose overlap is over at $3. They have stopped working by themselves; this takes
-- them out of the index of open keys, so that it does not grow with every rotation.
UPDATE api_key SET ended_at_ns = retires_at_ns, end_reason = 'ROTATED'
WHERE owner_id = $1 AND kind = $2 AND ended_at_ns IS NULL AND retires_at_ns <= $3;

-- name: end_key
-- Ends a key for good; its row stays.
UPDATE api_key SET ended_at_ns = $2, end_reason = 'DELETED'
WHERE public_key = $1 AND ended_at_ns IS NULL;

-- name: resolve_key
-- Any key by its public half: the one statement of every request that shows an API key.
SELECT
  public_key, project_id, account_id, name, scopes, origins, subaccount_index,
  expires_at_ns, created_at_ns, updated_at_ns, last_used_at_ns, ended_at_ns,
  replaced_by, retires_at_ns, session_public_key, origins_since_ns,
  read_per_minute_count, write_per_minute_count, order_per_minute_count, browser_session_per_minute_count
FROM api_key WHERE public_key = $1;

-- name: note_use
-- Notes a use at $2 of a live key unless one since $3 is noted already. Bookkeeping never waits: where
-- somebody else holds the row, they are noting a use themselves or changing the key, and the next use will do.
UPDATE api_key SET last_used_at_ns = $2
WHERE public_key = (
  SELECT public_key FROM api_key
  WHERE public_key = $1 AND (last_used_at_ns IS NULL OR last_used_at_ns <= $3) AND ended_at_ns IS NULL
    AND (expires_at_ns IS NULL OR expires_at_ns > $2)
    AND (retires_at_ns IS NULL OR retires_at_ns > $2)
  FOR NO KEY UPDATE SKIP LOCKED
);

-- name: insert_audit
-- What was done, in the transaction that does it.
INSERT INTO audit (
  audit_id, at_ns, action, owner_id, kind, public_key, actor_kind, actor_id, request_id, facts,
  device_key_id
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11);

-- name: find_first_master_keys
-- The first two master keys that an account ever had, removed ones included; to be read under the owner's
-- lock.
SELECT public_key, role, subaccount_index, created_at_ns FROM signer
WHERE account_id = $1 AND master_public_key IS NULL
ORDER BY issue_number
LIMIT 2;

-- name: key_was_used
-- Whether a public key was ever one of the account's, of any kind, ended or not; to be read under the
-- owner's lock.
SELECT EXISTS (SELECT FROM signer WHERE account_id = $1 AND public_key = $2)
  OR EXISTS (SELECT FROM api_key WHERE public_key = $2 AND account_id = $1);

-- name: insert_signer
-- A new master or session key.
INSERT INTO signer (
  account_id, public_key, kind, role, master_public_key, scope_index, subaccount_index, valid_until_ns,
  created_at_ns, created_by_kind, created_by_id
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11);

-- name: count_master_keys
-- The account's master keys of one reach, which is all for $2 NULL; to be counted under the owner's lock.
SELECT count(*) FROM signer
WHERE account_id = $1 AND master_public_key IS NULL AND NOT revoked
  AND subaccount_index IS NOT DISTINCT FROM $2::integer;

-- name: count_scoped_master_keys
-- The account's master keys that reach one subaccount, whichever that is; to be counted under the owner's
-- lock.
SELECT count(*) FROM signer
WHERE account_id = $1 AND master_public_key IS NULL AND NOT revoked AND subaccount_index IS NOT NULL;

-- name: count_full_admin_keys
-- The account's ADMIN keys with FULL_ACCESS; to be counted under the owner's lock.
SELECT count(*) FROM signer
WHERE account_id = $1 AND master_public_key IS NULL AND NOT revoked
  AND subaccount_index IS NULL AND role = 'FULL_ACCESS';

-- name: count_live_sessions
-- The session keys of a master key that are neither revoked nor past their end at $3; to be counted under
-- the owner's lock.
SELECT count(*) FROM signer
WHERE account_id = $1 AND master_public_key = $2 AND NOT revoked
  AND (valid_until_ns IS NULL OR valid_until_ns > $3);

-- name: find_master_key
-- One of the account's master keys, unless it was removed; to be read under the owner's lock.
SELECT public_key, role, subaccount_index, created_at_ns FROM signer
WHERE account_id = $1 AND public_key = $2 AND master_public_key IS NULL AND NOT revoked;

-- name: find_session_key
-- One of the account's session keys, of the master key $3 if that is not NULL, unless it was revoked; to be
-- read under the owner's lock.
SELECT
  public_key, master_public_key, role, scope_index, subaccount_index, valid_until_ns, created_at_ns
FROM signer
WHERE account_id = $1 AND public_key = $2 AND master_public_key IS NOT NULL AND NOT revoked
  AND ($3::bytea IS NULL OR master_public_key = $3);

-- name: session_key_has_ended
-- Whether a key is one of the account's session keys, of the master key $3 if that is not NULL, that was
-- revoked.
SELECT EXISTS (
  SELECT FROM signer
  WHERE account_id = $1 AND public_key = $2 AND master_public_key IS NOT NULL AND revoked
    AND ($3::bytea IS NULL OR master_public_key = $3)
);

-- name: end_signer
-- Ends a key for good; its row stays.
UPDATE signer SET ended_at_ns = $3, end_reason = $4
WHERE account_id = $1 AND public_key = $2 AND NOT revoked;

-- name: end_sessions_of_master
-- Ends what a master key minted, but for what ended by itself before $4: that signs nothing, whichever
-- service's clock is asked, and there is no end to how many of those there can be.
UPDATE signer SET ended_at_ns = $3, end_reason = 'MASTER_REMOVED'
WHERE account_id = $1 AND master_public_key = $2 AND NOT revoked
  AND (valid_until_ns IS NULL OR valid_until_ns > $4)
RETURNING public_key;

-- name: end_device_keys_of
-- Ends the device keys that came from a session key, or from any that a master key ever minted.
UPDATE device_key SET ended_at_ns = $3, end_reason = 'SESSION_ENDED'
WHERE account_id = $1 AND ended_at_ns IS NULL AND session_public_key IN (
  SELECT public_key FROM signer WHERE account_id = $1 AND (public_key = $2 OR master_public_key = $2)
)
RETURNING device_key_id;

-- name: end_api_keys_of
-- Ends the API keys that came from a session key, or from any that a master key ever minted, and the
-- successors that they were rotated into.
UPDATE api_key SET ended_at_ns = $3, end_reason = 'SESSION_ENDED'
WHERE account_id = $1 AND ended_at_ns IS NULL AND session_public_key IN (
  SELECT public_key FROM signer WHERE account_id = $1 AND (public_key = $2 OR master_public_key = $2)
)
RETURNING public_key;

-- name: list_master_keys
-- The account's master keys that were not removed, oldest first; with $2 those that reach that subaccount
-- and no other.
SELECT public_key, role, subaccount_index, created_at_ns FROM signer
WHERE account_id = $1 AND master_public_key IS NULL AND NOT revoked
  AND ($2::integer IS NULL OR subaccount_index = $2)
ORDER BY issue_number;

-- name: list_session_keys
-- The account's session keys that are live at $2, oldest first; with $3 those that reach that subaccount
-- and no other, with $4 those of that master key.
SELECT
  public_key, master_public_key, role, scope_index, subaccount_index, valid_until_ns, created_at_ns
FROM signer
WHERE account_id = $1 AND master_public_key IS NOT NULL AND NOT revoked
  AND (valid_until_ns IS NULL OR valid_until_ns > $2)
  AND ($3::integer IS NULL OR subaccount_index = $3)
  AND ($4::bytea IS NULL OR master_public_key = $4)
ORDER BY issue_number;

-- name: find_signer
-- A master or session key with what never changes of it, ended or not.
SELECT
  public_key, master_public_key, role, scope_index, subaccount_index, valid_until_ns, created_at_ns
FROM signer
WHERE account_id = $1 AND public_key = $2;

-- name: add_fences
-- What the wallet service has to be told of keys that sign no more.
INSERT INTO fence_outbox (account_id, public_key, created_at_ns)
SELECT $1, ended.public_key, $3 FROM unnest($2::bytea[]) AS ended (public_key);

-- name: add_requirement
-- That the wallet service has to be told of the account's first master key.
INSERT INTO fence_outbox (account_id, created_at_ns) VALUES ($1, $2);

-- name: list_fences
-- What the wallet service has yet to be told of an account, oldest first, at most $2.
SELECT sequence_number, public_key FROM fence_outbox
WHERE account_id = $1
ORDER BY sequence_number
LIMIT $2;

-- name: list_fenced_accounts
-- The accounts of which the wallet service has yet to be told something, at most $1, in the order in which
-- they began to wait.
SELECT account_id FROM fence_outbox
GROUP BY account_id
ORDER BY min(sequence_number)
LIMIT $1;

-- name: remove_fences
-- What the wallet service was told.
DELETE FROM fence_outbox WHERE sequence_number = ANY($1::bigint[]);

-- name: count_live_device_keys
-- The account's device keys that work at $2; to be counted under the owner's lock.
SELECT count(*) FROM device_key
WHERE account_id = $1 AND ended_at_ns IS NULL AND expires_at_ns > $2;

-- name: insert_device_key
-- A new device key, used for the first time when it is made.
INSERT INTO device_key (
  device_key_id, digest, project_id, account_id, name, subaccount_index, session_public_key,
  created_at_ns, last_used_at_ns, expires_at_ns, ends_at_ns
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8, $9, $10);

-- name: list_live_device_keys
-- The account's device keys that work at $2, oldest first.
SELECT
  device_key_id, project_id, account_id, name, subaccount_index, session_public_key,
  created_at_ns, last_used_at_ns, expires_at_ns, ends_at_ns, ended_at_ns
FROM device_key
WHERE account_id = $1 AND ended_at_ns IS NULL AND expires_at_ns > $2
ORDER BY issue_number;

-- name: find_live_device_key
-- One of the account's device keys, if it works at $3.
SELECT
  device_key_id, project_id, account_id, name, subaccount_index, session_public_key,
  created_at_ns, last_used_at_ns, expires_at_ns, ends_at_ns, ended_at_ns
FROM device_key
WHERE account_id = $1 AND device_key_id = $2 AND ended_at_ns IS NULL AND expires_at_ns > $3;

-- name: end_device_key
-- Ends a device key for good; its row stays.
UPDATE device_key SET ended_at_ns = $2, end_reason = 'DELETED'
WHERE device_key_id = $1 AND ended_at_ns IS NULL
RETURNING device_key_id;

-- name: resolve_device_key
-- Any device key by its digest: the one statement of every request that shows one.
SELECT
  device_key_id, project_id, account_id, name, subaccount_index, session_public_key,
  created_at_ns, last_used_at_ns, expires_at_ns, ends_at_ns, ended_at_ns
FROM device_key WHERE digest = $1;

-- name: note_device_key_use
-- Notes a use at $2 of a live device key, which then ends at $4 if it is not used again, unless a use since
-- $3 is noted already. As with API keys it never waits.
UPDATE device_key SET last_used_at_ns = $2, expires_at_ns = $4
WHERE device_key_id = (
  SELECT device_key_id FROM device_key
  WHERE device_key_id = $1 AND last_used_at_ns <= $3 AND ended_at_ns IS NULL AND expires_at_ns > $2
  FOR NO KEY UPDATE SKIP LOCKED
)
RETURNING expires_at_ns;
