-- Keys that sign, and what comes from them: master keys, the session keys that they mint, the device keys
-- and API keys that a session key makes.

-- What nobody may do, whatever their rights.
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% on % is refused by %', TG_OP, TG_TABLE_NAME, TG_NAME
    USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = TG_NAME;
END
$$;

-- One row a key and account, for ever: a key that was used on an account is never accepted there again.
-- The same key may be used on other accounts, by whoever; nobody can block another's.
CREATE TABLE signer (
  account_id uuid NOT NULL,
  public_key bytea NOT NULL,
  -- The order of creation, whatever the clocks of the service's replicas say.
  issue_number bigint GENERATED ALWAYS AS IDENTITY,
  kind text NOT NULL,
  role text NOT NULL,
  -- The master key that minted a session key.
  master_public_key bytea,
  -- The subaccount that a session key was pinned to when it was minted.
  scope_index integer,
  -- The only subaccount that the key reaches, by its own scope or its master key's; NULL is all.
  subaccount_index integer,
  valid_until_ns bigint,
  created_at_ns bigint NOT NULL,
  created_by_kind text NOT NULL,
  created_by_id text NOT NULL,
  ended_at_ns bigint,
  end_reason text,
  revoked boolean NOT NULL GENERATED ALWAYS AS (ended_at_ns IS NOT NULL) STORED,
  CONSTRAINT signer_pkey PRIMARY KEY (account_id, public_key),
  CONSTRAINT signer_public_key_is_ed25519 CHECK (octet_length(public_key) = 32),
  CONSTRAINT signer_kind_is_known CHECK (kind IN ('MASTER_KEY', 'SESSION_KEY')),
  CONSTRAINT signer_role_is_known CHECK (role IN ('FULL_ACCESS', 'TRADING_ONLY')),
  CONSTRAINT signer_session_key_has_its_master CHECK (
    (kind = 'SESSION_KEY') = (master_public_key IS NOT NULL)
  ),
  CONSTRAINT signer_master_fkey FOREIGN KEY (account_id, master_public_key)
    REFERENCES signer (account_id, public_key),
  CONSTRAINT signer_master_is_another CHECK (master_public_key <> public_key),
  CONSTRAINT signer_master_key_is_not_minted CHECK (
    kind <> 'MASTER_KEY' OR (scope_index IS NULL AND valid_until_ns IS NULL)
  ),
  CONSTRAINT signer_pin_is_its_reach CHECK (
    scope_index IS NULL OR (subaccount_index IS NOT NULL AND subaccount_index = scope_index)
  ),
  CONSTRAINT signer_subaccount_counts_from_zero CHECK (subaccount_index >= 0),
  CONSTRAINT signer_ends_after_creation CHECK (valid_until_ns > created_at_ns),
  CONSTRAINT signer_end_has_its_reason CHECK ((ended_at_ns IS NULL) = (end_reason IS NULL)),
  CONSTRAINT signer_end_reason_is_known CHECK (
    end_reason IS NULL
    OR (kind = 'MASTER_KEY' AND end_reason = 'REMOVED')
    OR (kind = 'SESSION_KEY' AND end_reason IN ('REVOKED', 'LOGGED_OUT', 'MASTER_REMOVED'))
  ),
  CONSTRAINT signer_creator_is_known CHECK (created_by_kind IN ('PROJECT_KEY', 'MASTER_KEY')),
  CONSTRAINT signer_session_key_is_minted_by_its_master CHECK (
    kind <> 'SESSION_KEY' OR created_by_kind = 'MASTER_KEY'
  )
);

-- A key that was ended stays so, as it was.
CREATE TRIGGER signer_stays_ended BEFORE UPDATE ON signer
  FOR EACH ROW WHEN (OLD.ended_at_ns IS NOT NULL) EXECUTE FUNCTION refuse();

-- An account's master keys (those without a master), and what each of them minted: for lists, caps and ends.
CREATE INDEX signer_by_master ON signer (account_id, master_public_key, revoked, valid_until_ns);

-- What a device reads with. The secret is nowhere; its BLAKE2b-256 digest is.
CREATE TABLE device_key (
  device_key_id uuid NOT NULL,
  -- The order of creation, whatever the clocks of the service's replicas say.
  issue_number bigint GENERATED ALWAYS AS IDENTITY,
  digest bytea NOT NULL,
  project_id uuid NOT NULL,
  account_id uuid NOT NULL,
  name text NOT NULL,
  subaccount_index integer,
  -- The session key that made it.
  session_public_key bytea NOT NULL,
  created_at_ns bigint NOT NULL,
  last_used_at_ns bigint NOT NULL,
  -- When it ends if it is not used again; moves with every use that is noted, until `ends_at_ns`.
  expires_at_ns bigint NOT NULL,
  ends_at_ns bigint NOT NULL,
  ended_at_ns bigint,
  end_reason text,
  CONSTRAINT device_key_pkey PRIMARY KEY (device_key_id),
  CONSTRAINT device_key_digest_is_unique UNIQUE (digest),
  CONSTRAINT device_key_digest_has_32_bytes CHECK (octet_length(digest) = 32),
  CONSTRAINT device_key_name_is_plain CHECK (name ~ '^[A-Za-z0-9_-]{0,64}$'),
  CONSTRAINT device_key_subaccount_counts_from_zero CHECK (subaccount_index >= 0),
  CONSTRAINT device_key_session_fkey FOREIGN KEY (account_id, session_public_key)
    REFERENCES signer (account_id, public_key),
  CONSTRAINT device_key_times_are_in_order CHECK (
    created_at_ns <= last_used_at_ns AND created_at_ns < expires_at_ns AND expires_at_ns <= ends_at_ns
  ),
  CONSTRAINT device_key_end_has_its_reason CHECK ((ended_at_ns IS NULL) = (end_reason IS NULL)),
  CONSTRAINT device_key_end_reason_is_known CHECK (end_reason IN ('DELETED', 'SESSION_ENDED'))
);

-- An account's device keys that were not ended: for the list and for the cap.
CREATE INDEX device_key_open_of_account ON device_key (account_id, expires_at_ns) WHERE ended_at_ns IS NULL;
-- Those that end with a session key.
CREATE INDEX device_key_open_of_session ON device_key (account_id, session_public_key)
  WHERE ended_at_ns IS NULL;

-- What the wallet service has yet to be told: that a key signs no more, or that an account has a master
-- key. Written in the transaction that makes it true, removed when the wallet service has answered.
CREATE TABLE fence_outbox (
  sequence_number bigint GENERATED ALWAYS AS IDENTITY,
  account_id uuid NOT NULL,
  kind text NOT NULL,
  public_key bytea,
  created_at_ns bigint NOT NULL,
  CONSTRAINT fence_outbox_pkey PRIMARY KEY (sequence_number),
  CONSTRAINT fence_outbox_kind_is_known CHECK (kind IN ('FENCE', 'REQUIRE')),
  CONSTRAINT fence_outbox_fence_names_the_key CHECK ((kind = 'FENCE') = (public_key IS NOT NULL)),
  CONSTRAINT fence_outbox_public_key_is_ed25519 CHECK (octet_length(public_key) = 32)
);

CREATE INDEX fence_outbox_of_account ON fence_outbox (account_id, sequence_number);

-- The session key that an API key came from, which a rotation hands on; such a key can end with it.
ALTER TABLE api_key
  ADD COLUMN session_public_key bytea,
  ADD CONSTRAINT api_key_session_fkey FOREIGN KEY (account_id, session_public_key)
    REFERENCES signer (account_id, public_key),
  ADD CONSTRAINT api_key_of_a_session_is_an_accounts CHECK (
    session_public_key IS NULL OR account_id IS NOT NULL
  ),
  ADD CONSTRAINT api_key_of_a_session_says_so CHECK (
    created_by_kind <> 'SESSION_KEY' OR session_public_key IS NOT NULL
  ),
  DROP CONSTRAINT api_key_end_reason_is_known,
  ADD CONSTRAINT api_key_end_reason_is_known CHECK (
    end_reason IN ('DELETED', 'ROTATED', 'SESSION_ENDED')
  ),
  DROP CONSTRAINT api_key_creator_is_known,
  ADD CONSTRAINT api_key_creator_is_known CHECK (
    created_by_kind IN ('PROJECT_KEY', 'ACCOUNT_SESSION', 'OPERATOR', 'SESSION_KEY')
  );

CREATE INDEX api_key_open_of_session ON api_key (account_id, session_public_key)
  WHERE ended_at_ns IS NULL AND session_public_key IS NOT NULL;

ALTER TABLE audit
  ADD COLUMN device_key_id uuid,
  DROP CONSTRAINT audit_action_is_known,
  ADD CONSTRAINT audit_action_is_known CHECK (
    action IN (
      'KEY_ISSUED', 'KEY_CHANGED', 'KEY_ROTATED', 'KEY_DELETED', 'ACCOUNT_FENCED',
      'MASTER_KEY_REGISTERED', 'MASTER_KEY_ADDED', 'MASTER_KEY_REMOVED',
      'SESSION_KEY_MINTED', 'SESSION_KEY_REVOKED',
      'DEVICE_KEY_ISSUED', 'DEVICE_KEY_DELETED'
    )
  ),
  DROP CONSTRAINT audit_names_the_key,
  ADD CONSTRAINT audit_names_the_key CHECK (
    (action IN ('ACCOUNT_FENCED', 'DEVICE_KEY_ISSUED', 'DEVICE_KEY_DELETED')) = (public_key IS NULL)
  ),
  ADD CONSTRAINT audit_names_the_device_key CHECK (
    (action IN ('DEVICE_KEY_ISSUED', 'DEVICE_KEY_DELETED')) = (device_key_id IS NOT NULL)
  ),
  DROP CONSTRAINT audit_actor_is_known,
  ADD CONSTRAINT audit_actor_is_known CHECK (
    actor_kind IN ('PROJECT_KEY', 'ACCOUNT_SESSION', 'OPERATOR', 'SERVICE', 'MASTER_KEY', 'SESSION_KEY')
  );

-- When the last signed request of an account was decided. Raising it is how the next one takes its turn:
-- the signed requests of an account run one by one.
CREATE TABLE signed_account (
  account_id uuid NOT NULL,
  processed_at_ns bigint NOT NULL,
  CONSTRAINT signed_account_pkey PRIMARY KEY (account_id)
);

-- What became of a signed request: written in the transaction of its effect, refusals too, and never
-- changed. UUIDv7 sorts by time, so a partition is one day (UTC) of the ids' own times; the default one
-- takes what no day is there for.
CREATE TABLE request (
  account_id uuid NOT NULL,
  request_id uuid NOT NULL,
  -- 0 where the signature came in headers, and for what never ran.
  request_type integer NOT NULL,
  -- The key that signed; NULL for what never ran.
  public_key bytea,
  -- BLAKE2b of what was signed; NULL for what never ran.
  digest bytea,
  status text NOT NULL,
  processed_at_ns bigint NOT NULL,
  -- The only subaccount that it is about; NULL for the whole account.
  subaccount_index bigint,
  -- The outcome's message, serialized, without its secrets.
  outcome bytea NOT NULL,
  CONSTRAINT request_pkey PRIMARY KEY (account_id, request_id),
  CONSTRAINT request_type_range CHECK (request_type BETWEEN 0 AND 65535),
  CONSTRAINT request_public_key_length CHECK (octet_length(public_key) = 32),
  CONSTRAINT request_digest_length CHECK (octet_length(digest) = 32),
  CONSTRAINT request_status_shape CHECK (status ~ '^[a-z][a-z_]{0,63}$'),
  CONSTRAINT request_subaccount_range CHECK (subaccount_index BETWEEN 0 AND 4294967294),
  CONSTRAINT request_never_ran_has_no_signer CHECK (
    (status = 'never_ran') = (public_key IS NULL) AND (public_key IS NULL) = (digest IS NULL)
  )
) PARTITION BY RANGE (request_id);
CREATE TABLE request_default PARTITION OF request DEFAULT;
-- Of statements on the whole; days are dropped and the default is swept by their own names.
CREATE TRIGGER request_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON request
  FOR EACH STATEMENT EXECUTE FUNCTION refuse();

-- Takes an account's turn for one signed request and tells what decides whether it runs: when it counts as
-- decided, whether its key was revoked (NULL where the key is unknown), and what is on record under its
-- id. A function and not one statement, because a statement does not see what was committed while it
-- waited for its turn; each statement of a function does.
CREATE FUNCTION claim_request(
  claimed_account_id uuid,
  claimed_public_key bytea,
  claimed_request_id uuid,
  now_ns bigint,
  OUT processed_at_ns bigint,
  OUT revoked boolean,
  OUT recorded_public_key bytea,
  OUT recorded_digest bytea,
  OUT recorded_outcome bytea
) LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO public.signed_account AS last (account_id, processed_at_ns)
  VALUES (claimed_account_id, now_ns)
  ON CONFLICT (account_id) DO UPDATE
    SET processed_at_ns = greatest(last.processed_at_ns + 1, excluded.processed_at_ns)
  RETURNING last.processed_at_ns INTO claim_request.processed_at_ns;
  -- Held to the end: whoever revokes the key waits for this request, or this one sees that it did.
  SELECT signer.revoked INTO claim_request.revoked
  FROM public.signer
  WHERE signer.account_id = claimed_account_id AND signer.public_key = claimed_public_key
  FOR SHARE;
  SELECT request.public_key, request.digest, request.outcome
  INTO recorded_public_key, recorded_digest, recorded_outcome
  FROM public.request
  WHERE request.account_id = claimed_account_id AND request.request_id = claimed_request_id;
END
$$;

-- Makes the partitions of the days up to a week ahead and removes what is older than seven days. For the
-- role that owns the tables.
CREATE FUNCTION maintain_requests(now_ns bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  day_ms CONSTANT bigint := 86400000;
  kept_ms CONSTANT bigint := now_ns / 1000000 - 7 * day_ms;
  first_day CONSTANT bigint := kept_ms / day_ms;
  last_day CONSTANT bigint := now_ns / 1000000 / day_ms + 7;
  partition_name text;
  lower_bound uuid;
  upper_bound uuid;
BEGIN
  FOR partition_name IN
    SELECT relname
    FROM pg_catalog.pg_inherits
    JOIN pg_catalog.pg_class ON pg_class.oid = inhrelid
    WHERE inhparent = 'public.request'::regclass
      AND relname ~ '^request_[0-9]{8}$'
      AND to_date(right(relname, 8), 'YYYYMMDD') - date '1970-01-01' < first_day
  LOOP
    EXECUTE format('DROP TABLE public.%I', partition_name);
  END LOOP;
  DELETE FROM public.request_default
  WHERE request_id < (lpad(to_hex(kept_ms), 12, '0') || repeat('0', 20))::uuid;
  FOR day IN first_day .. last_day LOOP
    partition_name := 'request_' || to_char(date '1970-01-01' + day::integer, 'YYYYMMDD');
    CONTINUE WHEN to_regclass('public.' || partition_name) IS NOT NULL;
    lower_bound := (lpad(to_hex(day * day_ms), 12, '0') || repeat('0', 20))::uuid;
    upper_bound := (lpad(to_hex((day + 1) * day_ms), 12, '0') || repeat('0', 20))::uuid;
    -- Nobody adds to the default while its rows of that day go where they belong.
    LOCK TABLE public.request_default IN ACCESS EXCLUSIVE MODE;
    EXECUTE format('CREATE TABLE public.%I (LIKE public.request INCLUDING ALL)', partition_name);
    EXECUTE format(
      'WITH moved AS (DELETE FROM public.request_default WHERE request_id >= %L AND request_id < %L'
      ' RETURNING *) INSERT INTO public.%I SELECT * FROM moved',
      lower_bound, upper_bound, partition_name
    );
    EXECUTE format(
      'ALTER TABLE public.request ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)',
      partition_name, lower_bound, upper_bound
    );
  END LOOP;
END
$$;
REVOKE EXECUTE ON FUNCTION maintain_requests(bigint) FROM PUBLIC;

GRANT SELECT, INSERT, UPDATE (ended_at_ns, end_reason) ON signer TO sealgate_keys;
GRANT SELECT, INSERT, UPDATE (last_used_at_ns, expires_at_ns, ended_at_ns, end_reason)
  ON device_key TO sealgate_keys;
GRANT SELECT, INSERT, DELETE ON fence_outbox TO sealgate_keys;
GRANT SELECT, INSERT, UPDATE (processed_at_ns) ON signed_account TO sealgate_keys;
GRANT SELECT, INSERT ON request TO sealgate_keys;
