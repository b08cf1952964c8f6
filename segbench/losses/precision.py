"""In which arithmetic losses are computed: float32 at least, also under autocast."""

import torch
from torch import Tensor

NEGLIGIBLE = -1e30  # stands for -inf in masked log-sum-exp: its exponential is 0 and its gradient is not NaN


def at_least_float32(values: Tensor) -> Tensor:
    """``values`` in float32, or as they are in float64."""
    return values if values.dtype == torch.float64 else values.float()


def without_autocast(values: Tensor) -> torch.autocast:
    """A context in which matrix products of float32 tensors stay in float32."""
    return torch.autocast(values.device.type, enabled=False)
