"""Contextrast (CVPR 2024): pixel-anchor loss over the layers of an encoder."""
