"""The published flows, step by step, against a stack of their own; run by `make demo`."""
