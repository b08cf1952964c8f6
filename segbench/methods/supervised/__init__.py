"""Cross-entropy alone."""
