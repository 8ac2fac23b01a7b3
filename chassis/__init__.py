"""What every Sealgate process needs, with no business words in it."""
