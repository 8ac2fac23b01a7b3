"""The executable `sealgate`."""
