-- What a row of fence_outbox tells is said by its key, or by its having none; nothing read the kind.
ALTER TABLE fence_outbox DROP COLUMN kind;
