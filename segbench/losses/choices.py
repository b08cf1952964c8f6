"""Choices that options and losses share; free of torch, so that recipes validate without it."""

from typing import Literal

Sampler = Literal["bane", "semi_hard", "random"]
Distance = Literal["edt", "edge"]
Percentile = Literal["image", "batch"]
Negatives = Literal["union", "fp_only", "literal"]
Ties = Literal["random", "raster"]
