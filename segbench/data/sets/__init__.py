"""Data sets, one sub-package each: facts (``options``) and reader (``reader``)."""
