"""Makes tests/vectors/signing.json: what signed requests are made of, byte by byte, and what is refused.

The vectors are for whoever signs in another language. Nothing in them is secret, and nothing depends on
when and where they are made; `python -m tools.vectors` writes the file, and `make gen` does.
"""
