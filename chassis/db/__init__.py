"""Postgres: pool, transactions, named statements, migrations, and a server of our own."""
