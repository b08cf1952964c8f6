"""Checkpoints of other projects: what they are, and how their tensors fit a network of segbench."""
