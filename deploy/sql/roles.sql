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
