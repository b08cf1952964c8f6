"""Data sets of the user's own, described by a ``dataset.yaml``."""
