"""Arithmetic of losses: float32 at least, also under autocast."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

NEGLIGIBLE = -1e30  # stands for -inf in masked log-sum-exp: its exponential is 0 and its gradient is not NaN


def at_least_float32(values: Tensor) -> Tensor:
    """Return ``values`` in float32; float64 stays."""
    return values if values.dtype == torch.float64 else values.float()


def without_autocast(values: Tensor) -> AbstractContextManager[object]:
    """Return a context in which matrix products of float32 tensors on the device of ``values`` stay in float32."""
    device_type = values.device.type
    if not torch.amp.is_autocast_available(device_type):
        return nullcontext()
    return torch.autocast(device_type, enabled=False)
