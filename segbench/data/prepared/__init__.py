"""Prepared splits: decoded once and mapped into memory."""
