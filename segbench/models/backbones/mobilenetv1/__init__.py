"""MobileNet (Howard et al. 2017, arXiv 1704.04861)."""
