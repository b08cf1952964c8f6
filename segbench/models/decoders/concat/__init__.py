"""HRNetV2's segmentation heads: all layers at the finest resolution, concatenated, classified."""
