-- The tables of signed requests, which every service that runs some has, in its own database.

-- name: claim_request
-- Takes the account's turn until the transaction ends; see the function for what it tells.
SELECT processed_at_ns, revoked, recorded_outcome IS NOT NULL AS is_used, recorded_public_key AS public_key,
       recorded_digest AS digest
  FROM claim_request($1, $2, $3, $4)

-- name: find_repeat
-- Whether a key was revoked, and with which key and bytes its request id was used; waits for nobody.
SELECT asked.revoked, request.request_id IS NOT NULL AS is_used, request.public_key, request.digest
  FROM (SELECT (SELECT revoked FROM signer WHERE account_id = $1 AND public_key = $2)) AS asked (revoked)
  LEFT JOIN request ON request.account_id = $1 AND request.request_id = $3

-- name: insert_request
-- Puts on record what became of a request.
INSERT INTO request
       (account_id, request_id, request_type, public_key, digest, status, processed_at_ns, subaccount_index,
        outcome)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)

-- name: find_request
-- What is on record under an id.
SELECT account_id, request_id, request_type, public_key, digest, status, processed_at_ns, subaccount_index,
       outcome
  FROM request
 WHERE account_id = $1 AND request_id = $2

-- name: take_turn
-- As `claim_request`, for one that will never run.
INSERT INTO signed_account AS last (account_id, processed_at_ns)
VALUES ($1, $2)
ON CONFLICT (account_id) DO UPDATE
   SET processed_at_ns = greatest(last.processed_at_ns + 1, excluded.processed_at_ns)
RETURNING processed_at_ns

-- name: remember_signer
-- Makes a key of an account known. One that was stopped before it ever signed stays stopped.
INSERT INTO signer (account_id, public_key, revoked)
VALUES ($1, $2, false)
ON CONFLICT (account_id, public_key) DO NOTHING
