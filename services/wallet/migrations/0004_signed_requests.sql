-- Signed requests, and further subaccounts. Nothing was ever written to the table that they replace.
DROP TABLE request;

-- When the last signed request of an account was decided. Raising it is how the next one takes its turn:
-- the signed requests of an account run one by one.
CREATE TABLE signed_account (
    account_id uuid PRIMARY KEY,
    processed_at_ns bigint NOT NULL
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
    PRIMARY KEY (account_id, request_id),
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

-- Keys that have signed for an account here, and whether they still may. A fence sets `revoked`, and
-- nothing ever clears it; every effect of a key commits with its row held FOR SHARE.
CREATE TABLE signer (
    account_id uuid NOT NULL,
    public_key bytea NOT NULL,
    revoked boolean NOT NULL,
    PRIMARY KEY (account_id, public_key),
    CONSTRAINT signer_public_key_length CHECK (octet_length(public_key) = 32)
);
CREATE TRIGGER signer_stays BEFORE DELETE OR TRUNCATE ON signer
    FOR EACH STATEMENT EXECUTE FUNCTION refuse();
CREATE TRIGGER signer_stays_revoked BEFORE UPDATE ON signer
    FOR EACH ROW WHEN (OLD.revoked AND NOT NEW.revoked) EXECUTE FUNCTION refuse();
CREATE TRIGGER signer_identity_is_fixed BEFORE UPDATE ON signer
    FOR EACH ROW WHEN ((OLD.account_id, OLD.public_key) IS DISTINCT FROM (NEW.account_id, NEW.public_key))
    EXECUTE FUNCTION refuse();

-- Whether an account has had a master key. Then nothing unsigned sends money out of it or says where it
-- may go; whoever does so before holds the row until he commits. Nothing ever clears it.
CREATE TABLE signature_rule (
    account_id uuid PRIMARY KEY,
    required boolean NOT NULL
);
CREATE TRIGGER signature_rule_stays BEFORE DELETE OR TRUNCATE ON signature_rule
    FOR EACH STATEMENT EXECUTE FUNCTION refuse();
CREATE TRIGGER signature_rule_stays_required BEFORE UPDATE ON signature_rule
    FOR EACH ROW WHEN (OLD.required AND NOT NEW.required) EXECUTE FUNCTION refuse();
CREATE TRIGGER signature_rule_account_is_fixed BEFORE UPDATE ON signature_rule
    FOR EACH ROW WHEN (OLD.account_id <> NEW.account_id) EXECUTE FUNCTION refuse();

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
-- A subaccount may be called something.
ALTER TABLE subaccount
    ADD COLUMN name text,
    ADD CONSTRAINT subaccount_name_length CHECK (char_length(name) BETWEEN 1 AND 64);

GRANT SELECT, INSERT, UPDATE (processed_at_ns) ON signed_account TO sealgate_wallet;
GRANT SELECT, INSERT ON request TO sealgate_wallet;
GRANT SELECT, INSERT, UPDATE (revoked) ON signer TO sealgate_wallet;
GRANT SELECT, INSERT, UPDATE (required) ON signature_rule TO sealgate_wallet;
