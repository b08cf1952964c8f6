"""Operations of one forward pass under the conventions of the usual tools, all counted in one pass on the meta device.

The tools agree on convolutions, linear layers and matrix products and differ in what else they count, so that one
network has several published costs. Facts of each tool from its public source; ``tests/peers`` holds us to the tools.
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from segbench.core.spec import Size

from . import ptflops
from .cost import meta_copy, thop_operations

aten = torch.ops.aten
CONVENTIONS: dict[str, str] = {
    "thop": "multiply-adds of convolutions and linear layers; affine normalisation 4 an element; pooling modules",
    "fvcore": "multiply-adds of all products; normalisation, bilinear enlargement and adaptive pooling; mmengine's too",
    "ptflops": "multiply-adds and biases of layers; activations, pooling, norms, enlargement: its default backend",
    "ptflops-aten": "multiply-adds and biases of convolutions, linear layers and matrices: its backend aten",
    "products": "multiply-adds of all products alone: half of the FLOPs that torch counts, as torchvision prints",
    "flops": "floating-point operations that torch counts: a multiply-add is two",
}


def count_conventions(module: nn.Module, size: Size, *, channels: int = 3) -> dict[str, int]:
    """Count one forward pass in evaluation mode of one image under every convention.

    Args:
        module: network that takes (1, ``channels``, H, W), on any device; it is not changed.
        size: (H, W) of the image in pixels.
        channels: of the image.

    Returns:
        Operations by the names of ``CONVENTIONS``.
    """
    skeleton = meta_copy(module).eval()
    thop = modules = 0

    def add(layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        nonlocal thop, modules
        thop += thop_operations(layer, inputs, output)
        modules += ptflops.module_operations(layer, inputs, output)

    for layer in skeleton.modules():
        layer.register_forward_hook(add)
    with (
        torch.no_grad(),
        FlopCounterMode(display=False) as counter,
        _Fvcore() as operators,
        ptflops.Dispatched() as dispatched,
        _Pooling(operators),
        ptflops.Functions() as functions,
    ):
        skeleton(torch.empty(1, channels, *size, device="meta"))
    flops = counter.get_total_flops()
    products = flops // 2
    return {
        "thop": thop,
        "fvcore": products + operators.beside,
        "ptflops": modules + functions.total,
        "ptflops-aten": dispatched.total,
        "products": products,
        "flops": flops,
    }


def matching(printed: str, counts: dict[str, int], *, unit: float = 1e9) -> list[str]:
    """Return the conventions under which a count prints as a given number.

    Args:
        printed: number as printed, in units of ``unit``.
        counts: operations by convention.
        unit: operations of one unit; 1e9 for G.
    """
    decimals = len(printed.partition(".")[2])
    return [name for name, count in counts.items() if f"{count / unit:.{decimals}f}" == printed]


class _Fvcore(TorchDispatchMode):
    """Counts what fvcore adds to the products."""

    def __init__(self) -> None:
        super().__init__()
        self.beside = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        packet = func.overloadpacket
        if packet in (aten.native_batch_norm, aten._native_batch_norm_legit_no_training):
            self.beside += args[0].numel() * (2 if args[1] is not None else 1)
        elif packet is aten.native_layer_norm:
            self.beside += args[0].numel() * (5 if args[2] is not None else 4)
        elif packet is aten.native_group_norm:
            self.beside += args[0].numel() * (5 if args[1] is not None else 4)
        elif packet is aten.upsample_bilinear2d:
            self.beside += 4 * output.numel()
        elif packet is aten.upsample_nearest2d:
            self.beside += output.numel()
        return output


class _Pooling(TorchFunctionMode):
    """Counts adaptive pooling, which torch turns into a mean before it dispatches."""

    def __init__(self, operators: _Fvcore) -> None:
        super().__init__()
        self.operators = operators

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is functional.adaptive_avg_pool2d:
            self.operators.beside += args[0].numel()
        return func(*args, **(kwargs or {}))
