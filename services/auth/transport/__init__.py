"""The service's RPCs, a module for each proto file or two: no rules, no SQL."""
