"""Parameters, multiply-adds and FLOPs of a network, counted on the meta device: no memory, no arithmetic."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd
from torch.utils.flop_counter import FlopCounterMode

from segbench.core.spec import Size

from .rules import COST_RULES

_FLOAT32_BYTES = 4
_UPSAMPLED = {"linear": 5, "bilinear": 11, "bicubic": 259}  # of an element, by thop


@dataclass(frozen=True)
class Cost:
    """Cost of a network at one input size.

    Attributes:
        parameters: number of parameters, trainable and frozen.
        multiply_adds: number of multiply-adds by ``rule``.
        flops: floating-point operations as counted by ``torch.utils.flop_counter``.
        activation_bytes: bytes of the float32 outputs of all innermost modules; roughly the activations that a
            training step saves of one image for its backward pass.
        rule: name of the rule, see ``rules.COST_RULES``.
    """

    parameters: int
    multiply_adds: int
    flops: int
    activation_bytes: int
    rule: str


def count_cost(module: nn.Module, size: Size, *, rule: str = "thop", channels: int = 3) -> Cost:
    """Count parameters, multiply-adds and FLOPs of one forward pass in evaluation mode for one image.

    Args:
        module: network that takes (1, ``channels``, H, W), on any device; it is not changed. Built under
            ``torch.device("meta")`` it takes no memory.
        size: (H, W) of the image in pixels.
        rule: name of a rule.
        channels: number of channels of the image.

    Raises:
        KeyError: unknown rule.
    """
    count_module = _COUNTERS[COST_RULES[rule].name]
    skeleton = meta_copy(module).eval()
    multiply_adds = activations = 0

    def add(layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        nonlocal multiply_adds, activations
        multiply_adds += count_module(layer, inputs, output)
        if isinstance(output, Tensor) and next(layer.children(), None) is None:
            activations += output.numel()

    for layer in skeleton.modules():
        layer.register_forward_hook(add)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        skeleton(torch.empty(1, channels, *size, device="meta"))
    parameters = sum(parameter.numel() for parameter in skeleton.parameters())
    return Cost(parameters, multiply_adds, counter.get_total_flops(), _FLOAT32_BYTES * activations, rule)


def meta_copy(module: nn.Module) -> nn.Module:
    """Return a deep copy on the meta device; shared tensors stay shared."""
    memo: dict[int, Any] = {}
    for parameter in module.parameters():
        memo[id(parameter)] = nn.Parameter(torch.empty_like(parameter, device="meta"), parameter.requires_grad)
    for buffer in module.buffers():
        memo[id(buffer)] = torch.empty_like(buffer, device="meta")
    return copy.deepcopy(module, memo)


def _products(layer: nn.Module, output: Any) -> int:
    """Return the multiply-adds of a convolution or linear layer, without biases."""
    if isinstance(layer, _ConvNd):
        return output.numel() * (layer.in_channels // layer.groups) * prod(layer.kernel_size)
    return output.numel() * layer.in_features if isinstance(layer, nn.Linear) else 0


def thop_operations(layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> int:
    """Count the operations of a layer as the ``thop`` package does, which published tables use."""
    if isinstance(layer, _NormBase):
        return int(inputs[0].numel() * (4 if layer.affine else 2))
    if isinstance(layer, nn.LayerNorm):
        return int(inputs[0].numel() * (4 if layer.elementwise_affine else 2))
    if isinstance(layer, nn.AvgPool2d):
        return int(output.numel())
    if isinstance(layer, nn.AdaptiveAvgPool2d):
        window = prod(before / after for before, after in zip(inputs[0].shape[2:], output.shape[2:], strict=True))
        return int((window + 1) * output.numel())
    if isinstance(layer, nn.Softmax):
        of = inputs[0].shape[layer.dim if layer.dim is not None else 1]
        return int(inputs[0].numel() // of * (3 * of - 1))
    if isinstance(layer, nn.Upsample):
        return int(output.numel() * _UPSAMPLED.get(layer.mode, 0))
    return _products(layer, output)


_COUNTERS: dict[str, Callable[[nn.Module, tuple[Any, ...], Any], int]] = {"thop": thop_operations}
