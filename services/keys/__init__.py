"""The keys service: every kind of permanent key."""
