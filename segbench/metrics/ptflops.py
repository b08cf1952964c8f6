"""Operations of a forward pass as ptflops counts them, by either of its backends.

Facts from its public source (0.7.5). Its default backend hooks modules by their exact type and wraps functions of
``torch.nn.functional`` and ``torch`` besides, so that a ReLU or a pooling module counts as a module and as a function.
Operators such as ``a + b`` and ``a @ b`` are not seen by it. A method such as ``a.add(b)`` is, but cannot be told from
its operator here and is left out.
"""

from collections.abc import Callable
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_BY_OUTPUT = (nn.ReLU, nn.PReLU, nn.ELU, nn.LeakyReLU, nn.ReLU6, nn.GELU, nn.Upsample)
_BY_INPUT = (
    nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d,
    nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d,
    nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d,
)  # fmt: skip
_NORMS = (
    nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d,
    nn.GroupNorm, nn.LayerNorm,
)  # fmt: skip
_ELEMENTWISE = {
    functional.relu, functional.prelu, functional.elu, functional.relu6, functional.gelu, functional.silu,
    functional.softmax,
    functional.avg_pool1d, functional.avg_pool2d, functional.avg_pool3d,
    functional.max_pool1d, functional.max_pool2d, functional.max_pool3d,
    functional.adaptive_avg_pool1d, functional.adaptive_avg_pool2d, functional.adaptive_avg_pool3d,
    functional.adaptive_max_pool1d, functional.adaptive_max_pool2d, functional.adaptive_max_pool3d,
}  # fmt: skip


def module_operations(layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> int:
    """Return the operations of one module's forward pass, by its exact type; 0 for others."""
    kind = type(layer)
    if isinstance(layer, _CONVOLUTIONS) and kind in _CONVOLUTIONS:
        positions = inputs[0] if layer.transposed else output
        per_position = prod(layer.kernel_size) * layer.in_channels * (layer.out_channels // layer.groups)
        bias = output.numel() if layer.bias is not None else 0
        return int(per_position * inputs[0].shape[0] * prod(positions.shape[2:]) + bias)
    if isinstance(layer, nn.Linear) and kind is nn.Linear:
        bias = output.numel() if layer.bias is not None else 0
        return int(inputs[0].numel() * layer.out_features + bias)
    if kind in _BY_OUTPUT:
        return int(output.numel())
    if kind in _BY_INPUT:
        return int(inputs[0].numel())
    if kind in _NORMS:
        return int(inputs[0].numel() * (2 if getattr(layer, "affine", False) else 1))
    return 0


class Functions(TorchFunctionMode):
    """Counts what the default backend adds to modules: functions of ``torch.nn.functional``, products of ``torch``."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _ELEMENTWISE:
            self.total += _first(args, kwargs).numel()
        elif func is functional.interpolate:
            self.total += _enlarged(_first(args, kwargs), args, kwargs)
        elif func in _PRODUCTS:
            self.total += _PRODUCTS[func](*args)
        return func(*args, **kwargs)


class Dispatched(TorchDispatchMode):
    """Counts by the backend ``aten``: products of convolutions, linear layers and matrices, and their biases."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        packet = func.overloadpacket
        if packet in (aten.mm, aten.bmm):
            self.total += args[0].numel() * args[1].shape[-1]
        elif packet is aten.addmm:
            self.total += args[1].numel() * args[2].shape[-1] + output.numel()
        elif packet in (aten.convolution, aten._convolution):
            images, weight, bias, transposed = args[0], args[1], args[2], args[6]
            positions = images if transposed else output
            self.total += images.shape[0] * weight.numel() * prod(positions.shape[2:])
            self.total += output.numel() if bias is not None else 0
        return output


def _first(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    found: Tensor = args[0] if args else kwargs["input"]
    return found


def _enlarged(images: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    size = kwargs.get("size", args[1] if len(args) > 1 else None)
    if size is None:
        factor: Any = kwargs.get("scale_factor", args[2] if len(args) > 2 else None)
        across = prod(factor) if isinstance(factor, tuple) else factor ** (images.dim() - 2)
        return int(images.numel() * across)
    across = prod(size) if isinstance(size, tuple | list) else size ** (images.dim() - 2)
    return int(images.shape[0] * images.shape[1] * across)


def _matmul(left: Tensor, right: Tensor) -> int:
    return left.numel() * right.shape[-1]


def _addmm(added: Tensor, left: Tensor, right: Tensor) -> int:
    return left.numel() * right.shape[-1] + added.numel()


def _broadcast(left: Any, right: Any) -> int:
    shapes = [each.shape if isinstance(each, Tensor) else () for each in (left, right)]
    return prod(torch.broadcast_shapes(*shapes))


_PRODUCTS: dict[Any, Callable[..., int]] = {
    torch.matmul: _matmul, torch.mm: _matmul, torch.bmm: _matmul, torch.addmm: _addmm, torch.baddbmm: _addmm,
    torch.mul: _broadcast, torch.add: _broadcast,
}  # fmt: skip
