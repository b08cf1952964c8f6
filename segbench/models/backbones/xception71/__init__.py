"""Xception-71 as DeepLabV3+ has it (Chen et al. 2018, arXiv 1802.02611)."""
