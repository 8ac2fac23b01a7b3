-- The database roles: an owner that migrates a database, and a role that serves from it with the
-- rights that the migrations grant. Run by an administrator before the first migration, and harmless
-- to run again. No role has a password here: a deployment sets them, or authenticates otherwise.

DO $$
DECLARE
  role_name text;
BEGIN
  FOREACH role_name IN ARRAY ARRAY[
    'sealgate_auth_owner', 'sealgate_auth',
    'sealgate_keys_owner', 'sealgate_keys',
    'sealgate_wallet_owner', 'sealgate_wallet'
  ]
  LOOP
    BEGIN
      EXECUTE format(
        'CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS', role_name
      );
    EXCEPTION
      -- There already, or made by somebody else a moment ago.
      WHEN duplicate_object OR unique_violation THEN NULL;
    END;
  END LOOP;
END
$$;

-- Every statement that wallet serves with finds its rows by index. A plan that was made while a table was
-- small would read it whole, or hash it, long after it has grown; so no such plan is made. The audit runs
-- as the owner, which reads whole tables on purpose.
DO $$
DECLARE
  planner_method text;
BEGIN
  FOREACH planner_method IN ARRAY ARRAY['enable_seqscan', 'enable_hashjoin', 'enable_mergejoin']
  LOOP
    IF NOT EXISTS (
      SELECT
        FROM pg_db_role_setting
       WHERE setrole = 'sealgate_wallet'::regrole AND setdatabase = 0
         AND setconfig @> ARRAY[planner_method || '=off']
    ) THEN
      EXECUTE format('ALTER ROLE sealgate_wallet SET %I TO off', planner_method);
    END IF;
  END LOOP;
END
$$;
