"""Names and shapes of the tensors of other projects' networks, generated from what their layers are.

No code of segbench is asked. Widths may be small: ``w`` is the width of the first of four stages or branches.
"""

import re
from collections.abc import Callable, Mapping
from itertools import pairwise

import torch
from torch import Tensor

Shapes = dict[str, tuple[int, ...]]
R101, R50 = (3, 4, 23, 3), (3, 4, 6, 3)
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def conv(name: str, channels: int, out: int, kernel: int = 1, *, bias: bool = False) -> Shapes:
    weight = {f"{name}.weight": (out, channels, kernel, kernel)}
    return {**weight, f"{name}.bias": (out,)} if bias else weight


def linear(name: str, channels: int, out: int) -> Shapes:
    return {f"{name}.weight": (out, channels), f"{name}.bias": (out,)}


def norm(name: str, channels: int) -> Shapes:
    vectors = ("weight", "bias", "running_mean", "running_var")
    return {**{f"{name}.{each}": (channels,) for each in vectors}, f"{name}.num_batches_tracked": ()}


def bottlenecks(prefix: str, channels: int, width: int, blocks: int) -> Shapes:
    shapes: Shapes = {}
    for block in range(blocks):
        here = f"{prefix}.{block}"
        shapes |= conv(f"{here}.conv1", channels, width) | norm(f"{here}.bn1", width)
        shapes |= conv(f"{here}.conv2", width, width, 3) | norm(f"{here}.bn2", width)
        shapes |= conv(f"{here}.conv3", width, 4 * width) | norm(f"{here}.bn3", 4 * width)
        if block == 0:
            shapes |= conv(f"{here}.downsample.0", channels, 4 * width) | norm(f"{here}.downsample.1", 4 * width)
        channels = 4 * width
    return shapes


def resnet(prefix: str, stem: tuple[str, ...], *, w: int = 64, blocks: tuple[int, ...] = R101) -> Shapes:
    """``stem`` names a convolution, its norm and so on: two names for a 7x7 one, six for three of 3x3."""
    shapes: Shapes = {}
    channels = 3
    deep = len(stem) == 6
    for number in range(len(stem) // 2):
        out = 64 if not deep else 2 * w if number == 2 else w
        shapes |= conv(stem[2 * number], channels, out, 3 if deep else 7) | norm(stem[2 * number + 1], out)
        channels = out
    for stage, count in enumerate(blocks):
        shapes |= bottlenecks(f"{prefix}layer{stage + 1}", channels, w * 2**stage, count)
        channels = 4 * w * 2**stage
    return shapes


def hrnet(
    prefix: str,
    *,
    w: int = 48,
    modules: tuple[int, ...] = (1, 4, 3),
    blocks: int = 4,
    stem: int = 64,
    first: tuple[int, int] = (4, 64),
) -> Shapes:
    """``first``: blocks of stage 1 and their inner width."""
    shapes = conv(f"{prefix}conv1", 3, stem, 3) | norm(f"{prefix}bn1", stem)
    shapes |= conv(f"{prefix}conv2", stem, stem, 3) | norm(f"{prefix}bn2", stem)
    shapes |= bottlenecks(f"{prefix}layer1", stem, first[1], first[0])
    widths = [w * 2**branch for branch in range(4)]
    shapes |= conv(f"{prefix}transition1.0.0", 4 * first[1], w, 3) | norm(f"{prefix}transition1.0.1", w)
    for number, before in enumerate((4 * first[1], widths[1], widths[2]), start=1):
        here = f"{prefix}transition{number}.{number}.0"
        shapes |= conv(f"{here}.0", before, widths[number], 3) | norm(f"{here}.1", widths[number])
    for branches, count in enumerate(modules, start=2):
        for module in range(count):
            here = f"{prefix}stage{branches}.{module}"
            for branch, width in enumerate(widths[:branches]):
                for block in range(blocks):
                    for k in (1, 2):
                        shapes |= conv(f"{here}.branches.{branch}.{block}.conv{k}", width, width, 3)
                        shapes |= norm(f"{here}.branches.{branch}.{block}.bn{k}", width)
                for source in range(branches):
                    shapes |= _exchange(f"{here}.fuse_layers.{branch}.{source}", widths, branch, source)
    return shapes


def _exchange(here: str, widths: list[int], to: int, source: int) -> Shapes:
    if source > to:
        return conv(f"{here}.0", widths[source], widths[to]) | norm(f"{here}.1", widths[to])
    path = [widths[source]] * (to - source) + [widths[to]] if source < to else []
    shapes: Shapes = {}
    for step, (a, b) in enumerate(pairwise(path)):
        shapes |= conv(f"{here}.{step}.0", a, b, 3) | norm(f"{here}.{step}.1", b)
    return shapes


def unit(name: str, first: int, channels: int, out: int, kernel: int, *, bias: bool, inside: str = ".0") -> Shapes:
    return conv(f"{name}.{first}", channels, out, kernel, bias=bias) | norm(f"{name}.{first + 1}{inside}", out)


def ocr_module(name: str, width: int, key: int, *, bias: bool, inside: str = ".0") -> Shapes:
    """``SpatialOCR_Module``."""
    block = f"{name}.object_context_block"
    shapes: Shapes = {}
    for part in ("f_pixel", "f_object"):
        shapes |= unit(f"{block}.{part}", 0, width, key, 1, bias=bias, inside=inside)
        shapes |= unit(f"{block}.{part}", 2, key, key, 1, bias=bias, inside=inside)
    shapes |= unit(f"{block}.f_down", 0, width, key, 1, bias=bias, inside=inside)
    shapes |= unit(f"{block}.f_up", 0, key, width, 1, bias=bias, inside=inside)
    return shapes | unit(f"{name}.conv_bn_dropout", 0, 2 * width, width, 1, bias=bias, inside=inside)


def projection(channels: int, out: int = 256) -> Shapes:
    head = unit("proj_head.proj", 0, channels, channels, 1, bias=True)
    return head | conv("proj_head.proj.2", channels, out, bias=True)


def prefixed(prefix: str, shapes: Shapes) -> Shapes:
    return {f"{prefix}{name}": shape for name, shape in shapes.items()}


def uncounted(shapes: Shapes) -> Shapes:
    return {name: shape for name, shape in shapes.items() if not name.endswith("num_batches_tracked")}


def millions(shapes: Shapes, *, but: Callable[[str], bool] = lambda name: False) -> float:
    """Parameters, statistics of norms left out."""
    kept = (shape for name, shape in shapes.items() if not name.endswith(STATISTICS) and not but(name))
    return sum(torch.Size(shape).numel() for shape in kept) / 1e6


def empty(shapes: Shapes) -> dict[str, Tensor]:
    """Tensors without values."""
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


def filled(shapes: Shapes, *, seed: int = 0) -> dict[str, Tensor]:
    """Random values that keep what a network computes about 1; a fifth of the norms' scales are negative."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in shapes.items():
        drawn = torch.randn(shape, generator=generator)
        if name.endswith("num_batches_tracked"):
            drawn = torch.tensor(7)
        elif name.endswith("running_var"):
            drawn = 0.5 + drawn.abs()
        elif re.search(r"\.weight$", name) and len(shape) == 1:
            sign = torch.where(torch.rand(shape, generator=generator) < 0.2, -1.0, 1.0)
            drawn = sign * (1 + 0.2 * drawn)
        elif len(shape) == 1:
            drawn = 0.3 * drawn
        elif shape:
            drawn = drawn * 1.4 / torch.Size(shape[1:]).numel() ** 0.5
        state[name] = drawn
    return state


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    """Whether two files hold the same bits under the same names."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
