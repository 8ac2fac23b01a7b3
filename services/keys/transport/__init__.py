"""The service's RPCs, a module for each service of the protos: no rules, no SQL."""
