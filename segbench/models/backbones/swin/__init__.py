"""Swin Transformer: attention within shifted windows (Liu et al. 2021, arXiv 2103.14030)."""
