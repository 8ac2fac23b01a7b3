"""The example of a web page, served beside a stack of its own."""
