"""Weights drawn so wide that no part of a network may be left out unnoticed."""

import torch
from torch import nn


def randomise(module: nn.Module, *, seed: int = 0) -> nn.Module:
    """Draw every parameter and running statistic of ``module`` in place, and switch it to evaluation."""
    generator = torch.Generator().manual_seed(seed)
    statistics = [(name, tensor) for name, tensor in module.named_buffers() if ".running_" in name]
    for name, tensor in [*module.named_parameters(), *statistics]:
        drawn = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
        last = name.rsplit(".", 1)[-1]
        if last == "running_var":
            drawn = 0.5 + drawn.abs()
        elif tensor.ndim == 1:
            drawn = 0.3 * drawn + (last == "weight")  # scales of norms about 1, all biases about 0
        elif "position" not in last:
            drawn = drawn * 1.2 / tensor[0].numel() ** 0.5
        tensor.data.copy_(drawn)
    return module.eval()
