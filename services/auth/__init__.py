"""The auth service: projects, accounts, sessions, and who a credential makes its bearer."""
