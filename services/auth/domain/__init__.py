"""The rules of projects, accounts and sessions, without any I/O."""
