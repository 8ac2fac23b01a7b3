-- Every statement of the auth service. "Live" is always the same four conditions: not ended, and
-- the time given is before both the idle end and the absolute cap.

-- name: insert_project
-- A new project.
INSERT INTO project (
  project_id, name, status, modules, allowed_origins, idle_timeout_seconds, absolute_cap_seconds,
  created_at_ns, updated_at_ns
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8);

-- name: find_project
-- One project.
SELECT * FROM project WHERE project_id = $1;

-- name: update_project
-- New settings of a project; NULL leaves one as it is.
UPDATE project
SET name = coalesce($2, name),
  allowed_origins = coalesce($3, allowed_origins),
  idle_timeout_seconds = coalesce($4, idle_timeout_seconds),
  absolute_cap_seconds = coalesce($5, absolute_cap_seconds),
  updated_at_ns = $6
WHERE project_id = $1
RETURNING *;

-- name: lock_project
-- One project, held so that what the operator changes is told from what is so already.
SELECT * FROM project WHERE project_id = $1 FOR NO KEY UPDATE;

-- name: set_project_state
-- What the operator decides of a project.
UPDATE project SET status = $2, modules = $3, updated_at_ns = $4 WHERE project_id = $1 RETURNING *;

-- name: list_projects
-- All projects, oldest first: the ids begin with their time.
SELECT * FROM project ORDER BY project_id LIMIT $1 OFFSET $2;

-- name: insert_account
-- A new account; its number comes from the database.
INSERT INTO account (account_id, project_id, metadata, status, version, created_at_ns, updated_at_ns)
VALUES ($1, $2, $3, 'ACTIVE', 0, $4, $4)
RETURNING *;

-- name: find_account
-- One account of a project.
SELECT * FROM account WHERE account_id = $1 AND project_id = $2;

-- name: list_accounts
-- A project's accounts, oldest first.
SELECT * FROM account WHERE project_id = $1 ORDER BY account_number LIMIT $2 OFFSET $3;

-- name: replace_metadata
-- New metadata of an account, whole.
UPDATE account SET metadata = $3, updated_at_ns = $4
WHERE account_id = $1 AND project_id = $2
RETURNING *;

-- name: lock_account_to_issue
-- Taken before anything is issued under an account, so that its status holds and its caps are counted
-- with nothing in flight; with the policy that a new session copies.
SELECT account.status, project.idle_timeout_seconds, project.absolute_cap_seconds
FROM account JOIN project USING (project_id)
WHERE account_id = $1 AND project_id = $2
FOR NO KEY UPDATE OF account;

-- name: lock_account_to_revoke
-- Taken before an account's sessions are ended together: waits for everything being issued, and what
-- comes later sees the end.
SELECT * FROM account WHERE account_id = $1 AND project_id = $2 FOR UPDATE;

-- name: activate_account
-- Makes an account active again.
UPDATE account SET status = 'ACTIVE', updated_at_ns = $2 WHERE account_id = $1 RETURNING *;

-- name: suspend_account
-- Suspends an account; identities that know an older version issue nothing any more.
UPDATE account SET status = 'SUSPENDED', version = version + 1, updated_at_ns = $2
WHERE account_id = $1
RETURNING *;

-- name: raise_account_version
-- Identities that know an older version of the account issue nothing any more.
UPDATE account SET version = version + 1 WHERE account_id = $1 RETURNING version;

-- name: insert_session
-- A new session.
INSERT INTO session (
  session_id, account_id, created_at_ns, last_used_at_ns, idle_timeout_seconds, cap_at_ns,
  user_agent, address, created_by
)
VALUES ($1, $2, $3, $3, $4, $5, $6, $7, $8);

-- name: count_live_sessions
-- How many of an account's sessions are live; to be counted under the account's lock.
SELECT count(*) FROM session
WHERE account_id = $1 AND ended_at_ns IS NULL
  AND last_used_at_ns + idle_timeout_seconds * 1000000000 > $2 AND cap_at_ns > $2;

-- name: list_live_sessions
-- An account's live sessions, newest first.
SELECT session.*, account.project_id FROM session JOIN account USING (account_id)
WHERE account_id = $1 AND account.project_id = $2 AND ended_at_ns IS NULL
  AND last_used_at_ns + idle_timeout_seconds * 1000000000 > $3 AND cap_at_ns > $3
ORDER BY session.created_at_ns DESC, session_id DESC;

-- name: lock_session
-- A session of an account, held so that it is ended once.
SELECT session.*, account.project_id FROM session JOIN account USING (account_id)
WHERE session_id = $1 AND account_id = $2 AND account.project_id = $3
FOR NO KEY UPDATE OF session;

-- name: find_session
-- A session of an account.
SELECT session.*, account.project_id FROM session JOIN account USING (account_id)
WHERE session_id = $1 AND account_id = $2 AND account.project_id = $3;

-- name: end_session
-- Ends a session that its transaction has locked and found live.
UPDATE session SET ended_at_ns = $2, end_reason = $3, successor_id = $4 WHERE session_id = $1;

-- name: end_live_sessions
-- Ends every live session of an account, under the account's lock.
UPDATE session SET ended_at_ns = $2, end_reason = $3
WHERE account_id = $1 AND ended_at_ns IS NULL
  AND last_used_at_ns + idle_timeout_seconds * 1000000000 > $2 AND cap_at_ns > $2
RETURNING session_id;

-- name: find_session_standing
-- What an exchange of a session token needs to know, in one snapshot.
SELECT session.*, account.project_id, account.account_number, account.version,
  account.status AS account_status, project.status AS project_status, project.modules,
  project.allowed_origins
FROM session JOIN account USING (account_id) JOIN project USING (project_id)
WHERE session_id = $1;

-- name: find_standing
-- What an exchange of a key needs to know, in one snapshot; no account when it is not the project's.
SELECT project.project_id, project.status AS project_status, project.modules, project.allowed_origins,
  account.account_id, account.account_number, account.version, account.status AS account_status
FROM project LEFT JOIN account ON account.project_id = project.project_id AND account.account_id = $2
WHERE project.project_id = $1;

-- name: find_account_standing
-- What a signed request asks about its account, in one snapshot.
SELECT project.project_id, project.status AS project_status, project.modules, project.allowed_origins,
  account.account_id, account.account_number, account.version, account.status AS account_status
FROM account JOIN project USING (project_id)
WHERE account.account_id = $1;

-- name: touch_session
-- Notes a use at $2 of a live session unless one after $3 is noted already. Bookkeeping never waits:
-- whoever holds the row notes a use too, or ends the session.
UPDATE session SET last_used_at_ns = $2
WHERE session_id = (
  SELECT session_id FROM session
  WHERE session_id = $1 AND last_used_at_ns <= $3 AND ended_at_ns IS NULL
    AND last_used_at_ns + idle_timeout_seconds * 1000000000 > $2 AND cap_at_ns > $2
  FOR NO KEY UPDATE SKIP LOCKED
)
RETURNING last_used_at_ns;

-- name: insert_audit
-- What was done, in the transaction that does it.
INSERT INTO audit (at_ns, project_id, account_id, actor_kind, actor_id, action, subject, request_id)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8);
