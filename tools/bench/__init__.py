"""What the platform does in a second, beside what it could do at best; run by `make bench`."""
