"""Prepared splits: decoded once, mapped into memory, or streamed where there is no room."""
