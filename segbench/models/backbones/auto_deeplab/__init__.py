"""The network that Auto-DeepLab's search found (Liu et al. 2019, arXiv 1901.02985)."""
