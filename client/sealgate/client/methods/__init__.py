"""The calls, one module a contract and kind of client."""
