"""HRNetV2: four resolutions kept in parallel (Sun et al. 2019, arXiv 1904.04514)."""
