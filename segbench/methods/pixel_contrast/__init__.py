"""Pixel contrast of ContrastiveSeg (ICCV 2021)."""
