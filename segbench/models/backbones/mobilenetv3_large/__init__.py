"""MobileNetV3-Large (Howard et al. 2019, arXiv 1905.02244)."""
