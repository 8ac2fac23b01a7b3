"""What answers hold, one module a contract."""
