"""The data sets: a sub-package each, with its facts (``options``) and its reader (``reader``)."""
