"""Mix Transformer (Xie et al. 2021, arXiv 2105.15203, section 3.1), also as CFN's public code varies it.

Names of parameters are those of the authors' code (``patch_embed1``, ``block1.0.attn.q``, ``norm1`` ...); maps are kept
channels last, (N, h, w, c).
"""

import math
from itertools import accumulate
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segbench.models.backbones.drop_path import DropPath
from segbench.models.segmentor import Backbone

from .options import Options

LINEAR_STD = 0.02


class Epsilons(NamedTuple):
    """Epsilons of layer norms: those in blocks and after stages, and those of reduced or embedded maps."""

    block: float
    embed: float


_EPSILONS = {
    "nv": Epsilons(1e-6, 1e-5),
    "hf": Epsilons(1e-5, 1e-5),
    "mmseg": Epsilons(1e-6, 1e-6),
    "cfn": Epsilons(1e-5, 1e-5),
}


def build(options: Options, *, align_corners: bool) -> Backbone:
    """Build the backbone; ``align_corners`` is ignored, as nothing is resized.

    Linear layers start at a truncated N(0, 0.02), convolutions at N(0, 2 / fan-out), biases at 0. CFN's start as
    PyTorch's layers do, with `torch.nn.MultiheadAttention` for the attention.
    """
    network = MiT(options)
    for module in network.modules():
        if options.variant == "cfn":
            if isinstance(module, Attention):
                module.start_as_pytorch()
        elif isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=LINEAR_STD)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Conv2d) and module.bias is not None:
            fan_out = math.prod(module.kernel_size) * module.out_channels // module.groups
            nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
            nn.init.zeros_(module.bias)
    return network


class MiT(Backbone):
    """Four stages of overlapping patches, attention on reduced keys and mixing feed-forward networks.

    ``forward`` takes (N, 3, H, W) with H, W >= 32 and gives the stages' outputs; at the usual strides 4, 8, 16, 32
    sizes are rounded up.
    """

    def __init__(self, options: Options) -> None:
        super().__init__()
        widths, depths, heads = options.shape()
        epsilons = _EPSILONS[options.variant]
        cfn = options.variant == "cfn"
        rates = torch.linspace(0, options.drop_path, sum(depths), device="cpu").tolist()
        self.layer_channels = tuple(widths)
        self.layer_strides = tuple(accumulate(options.strides, lambda before, stride: before * stride))
        before = 3
        for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            embed = PatchEmbed(
                before,
                width,
                kernel=options.patch_sizes[stage],
                stride=options.strides[stage],
                bias=not cfn,
                eps=epsilons.embed,
            )
            blocks = nn.ModuleList(
                Block(
                    width,
                    heads[stage],
                    reduction=options.reductions[stage],
                    mlp_ratio=options.mlp_ratio,
                    drop_path=rate,
                    epsilons=epsilons,
                    cfn=cfn,
                )
                for rate in rates[:depth]
            )
            self.add_module(f"patch_embed{stage + 1}", embed)
            self.add_module(f"block{stage + 1}", blocks)
            self.add_module(f"norm{stage + 1}", nn.LayerNorm(width, eps=epsilons.block))
            before, rates = width, rates[depth:]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Encode (N, 3, H, W) images to four layers, finest first."""
        x, maps = images, []
        for stage in range(1, len(self.layer_channels) + 1):
            tokens = getattr(self, f"patch_embed{stage}")(x)
            for block in getattr(self, f"block{stage}"):
                tokens = block(tokens)
            x = getattr(self, f"norm{stage}")(tokens).permute(0, 3, 1, 2)
            maps.append(x)
        return tuple(maps)


class PatchEmbed(nn.Module):
    """Convolution whose kernel is wider than its stride, then layer norm ("overlapped patch merging")."""

    def __init__(self, channels: int, out: int, *, kernel: int, stride: int, bias: bool, eps: float) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, out, kernel, stride=stride, padding=kernel // 2, bias=bias)
        self.norm = nn.LayerNorm(out, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, H, W) to (N, h, w, out)."""
        normed: Tensor = self.norm(self.proj(x).permute(0, 2, 3, 1))
        return normed


class Block(nn.Module):
    """Attention and a mixing feed-forward network, each after a layer norm and beside a shortcut (figure 2)."""

    def __init__(
        self,
        channels: int,
        heads: int,
        *,
        reduction: int,
        mlp_ratio: int,
        drop_path: float,
        epsilons: Epsilons,
        cfn: bool,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=epsilons.block)
        self.attn = Attention(channels, heads, reduction=reduction, always_reduce=cfn, eps=epsilons.embed)
        self.norm2 = nn.LayerNorm(channels, eps=epsilons.block)
        self.mlp = MixMlp(channels, inner=channels if cfn else mlp_ratio * channels, out=mlp_ratio * channels)
        self.drop_path = DropPath(drop_path, of="batch" if cfn else "images")
        self.attention_drop_path = nn.Identity() if cfn else self.drop_path

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, h, w, c) to the same shape."""
        x = x + self.attention_drop_path(self.attn(self.norm1(x)))
        result: Tensor = x + self.drop_path(self.mlp(self.norm2(x)))
        return result


class Attention(nn.Module):
    """Multi-head attention of all tokens to a map that a strided convolution has made smaller (equations 1 and 2)."""

    def __init__(self, channels: int, heads: int, *, reduction: int, always_reduce: bool, eps: float) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(channels, channels)
        self.kv = nn.Linear(channels, 2 * channels)
        self.proj = nn.Linear(channels, channels)
        self.sr: nn.Module | None = None
        if reduction > 1 or always_reduce:
            self.sr = nn.Conv2d(channels, channels, reduction, stride=reduction)
            self.norm = nn.LayerNorm(channels, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, h, w, c) to the same shape; h and w are at least the reduction."""
        context = x if self.sr is None else self.norm(self.sr(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
        query = self._split(self.q(x))
        key, value = (self._split(part) for part in self.kv(context).chunk(2, dim=-1))
        attended = F.scaled_dot_product_attention(query, key, value)
        result: Tensor = self.proj(attended.transpose(1, 2).reshape(x.shape))
        return result

    def start_as_pytorch(self) -> None:
        """Start as `torch.nn.MultiheadAttention`: queries, keys and values Xavier-uniform as one matrix, biases 0."""
        channels = self.q.in_features
        bound = math.sqrt(6 / (channels + 3 * channels))
        for layer in (self.q, self.kv):
            nn.init.uniform_(layer.weight, -bound, bound)
            nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.proj.bias)

    def _split(self, x: Tensor) -> Tensor:
        """Split (N, h, w, c) into (N, heads, tokens, c / heads)."""
        return x.flatten(1, 2).unflatten(-1, (self.heads, -1)).transpose(1, 2)


class MixMlp(nn.Module):
    """Two linear layers with a 3x3 depthwise convolution and a GELU between them (equation 3).

    The convolution leads from ``inner`` to ``out`` channels, each of which reads one of the former.
    """

    def __init__(self, channels: int, *, inner: int, out: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, inner)
        self.dwconv = nn.ModuleDict({"dwconv": nn.Conv2d(inner, out, 3, padding=1, groups=inner)})
        self.act = nn.GELU()
        self.fc2 = nn.Linear(out, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, h, w, c) to the same shape."""
        x = self.dwconv["dwconv"](self.fc1(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        result: Tensor = self.fc2(self.act(x))
        return result
