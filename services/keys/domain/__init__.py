"""The rules of API keys, without a database or a wire."""
