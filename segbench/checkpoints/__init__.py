"""Checkpoint files, segbench's and others': find, fetch, open, recognise and convert them."""
