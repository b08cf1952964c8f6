"""The user's own data sets, described by a ``dataset.yaml``."""
