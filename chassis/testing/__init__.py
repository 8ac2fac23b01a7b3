"""What tests of every part need: a clock and ids that behave, and a fresh database in milliseconds."""
