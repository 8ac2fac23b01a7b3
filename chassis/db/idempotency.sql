-- The table `idempotency`, which every service has, in its own database.

-- name: try_lock
-- Takes the key for as long as the transaction lasts; false when another has it.
SELECT pg_try_advisory_xact_lock($1)

-- name: find_record
-- What the key was answered, however long ago. A statement after the lock and not one with it: a
-- statement sees what was committed before it began, and the lock's last holder has just committed.
SELECT digest, outcome, answer, created_at_ns
  FROM idempotency
 WHERE idempotency_key = $1 AND method = $2 AND project_id = $3 AND account_id IS NOT DISTINCT FROM $4

-- name: delete_record
-- Makes room for a new answer under a key whose old one is of no more use.
DELETE FROM idempotency
 WHERE idempotency_key = $1 AND method = $2 AND project_id = $3 AND account_id IS NOT DISTINCT FROM $4

-- name: insert_record
-- Keeps an answer.
INSERT INTO idempotency
       (idempotency_key, method, project_id, account_id, digest, outcome, answer, created_at_ns)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)

-- name: sweep_records
-- Removes some of the answers that are too old. Those that somebody else is just removing are left to
-- them, so that nobody waits.
DELETE FROM idempotency
 WHERE ctid = ANY (ARRAY(
           SELECT ctid
             FROM idempotency
            WHERE created_at_ns <= $1
            ORDER BY created_at_ns
            LIMIT $2
              FOR UPDATE SKIP LOCKED
       ))
