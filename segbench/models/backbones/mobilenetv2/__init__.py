"""MobileNetV2 (Sandler et al. 2018, arXiv 1801.04381)."""
