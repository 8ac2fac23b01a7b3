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
  expires_at_ns, created_at_ns, updated_at_ns, created_by_kind, created_by_id
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11, $12, $13);

-- name: list_keys
-- The owner's keys that were neither ended nor rotated out by $3, oldest first. Of more than $4 those that expired by $3 are left
-- out first, oldest ones first.
SELECT
  public_key, project_id, account_id, name, scopes, origins, subaccount_index,
  expires_at_ns, created_at_ns, updated_at_ns, last_used_at_ns, ended_at_ns,
  replaced_by, retires_at_ns
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
  replaced_by, retires_at_ns
FROM api_key
WHERE public_key = $1 AND owner_id = $2 AND kind = $3 AND ended_at_ns IS NULL
  AND (retires_at_ns IS NULL OR retires_at_ns > $4);

-- name: find_undeleted_key
-- One of the owner's keys, unless it was deleted; one that was rotated is found for ever.
SELECT
  public_key, project_id, account_id, name, scopes, origins, subaccount_index,
  expires_at_ns, created_at_ns, updated_at_ns, last_used_at_ns, ended_at_ns,
  replaced_by, retires_at_ns
FROM api_key
WHERE public_key = $1 AND owner_id = $2 AND kind = $3 AND end_reason IS DISTINCT FROM 'DELETED';

-- name: update_key
-- New rights of a key; read and written under the owner's lock.
UPDATE api_key SET name = $2, scopes = $3, origins = $4, updated_at_ns = $5
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
  replaced_by, retires_at_ns
FROM api_key WHERE public_key = $1;

-- name: note_use
-- Notes a use at $2 unless one since $3 is noted already. Bookkeeping never waits: where somebody else
-- holds the row, they are noting a use themselves or changing the key, and the next use will do.
UPDATE api_key SET last_used_at_ns = $2
WHERE public_key = (
  SELECT public_key FROM api_key
  WHERE public_key = $1 AND (last_used_at_ns IS NULL OR last_used_at_ns <= $3)
  FOR NO KEY UPDATE SKIP LOCKED
);

-- name: insert_audit
-- What was done, in the transaction that does it.
INSERT INTO audit (
  audit_id, at_ns, action, owner_id, kind, public_key, actor_kind, actor_id, request_id, facts
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10);
