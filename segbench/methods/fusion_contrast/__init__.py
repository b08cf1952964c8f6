"""Contrast between a transformer that is trained and a frozen convolutional network (CFN)."""
