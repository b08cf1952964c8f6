"""Supervised training with cross-entropy."""
