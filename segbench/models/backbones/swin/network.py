"""Swin Transformer for dense prediction (Liu et al. 2021, arXiv 2103.14030, section 3 and figure 3).

Names of parameters are those of the authors' segmentation code, and so is what their classification code, and timm's,
do otherwise: a map is padded to whole windows *before* it is shifted, windows are shifted even where one covers the
map, and a layer norm of its own follows each stage (``norm0`` to ``norm3``; ImageNet files do not have it).
"""

from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segbench.models.backbones.drop_path import DropPath
from segbench.models.segmentor import Backbone

from .options import Options
from .window import WindowAttention, join_windows, shift_mask, split_windows

PATCH = 4
MLP_RATIO = 4
INIT_STD = 0.02


def build(options: Options, *, align_corners: bool) -> Backbone:
    """Build the backbone; linear layers and position biases start at a truncated N(0, 0.02), their biases at 0.

    ``align_corners`` means nothing here: nothing is resized.
    """
    network = Swin(options)
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=INIT_STD)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, WindowAttention):
            nn.init.trunc_normal_(module.relative_position_bias_table, std=INIT_STD)
    return network


class Swin(Backbone):
    """Patches of 4x4 pixels, then four stages of window attention with patch merging between them.

    ``forward`` takes (N, 3, H, W) and gives four maps with ``embed`` times 1, 2, 4, 8 channels at strides 4, 8, 16,
    32 (sizes rounded up: images and odd maps are padded with zeros at the right and the bottom).
    """

    def __init__(self, options: Options) -> None:
        super().__init__()
        embed, depths, heads = options.shape()
        rates = torch.linspace(0, options.drop_path, sum(depths), device="cpu").tolist()
        ends = list(accumulate(depths))
        self.layer_channels = tuple(embed * 2**stage for stage in range(len(depths)))
        self.layer_strides = tuple(PATCH * 2**stage for stage in range(len(depths)))
        self.patch_embed = PatchEmbed(embed)
        self.layers = nn.ModuleList(
            Stage(
                channels,
                rates[end - depth : end],
                heads=heads[stage],
                window=options.window,
                merge=stage + 1 < len(depths),
            )
            for stage, (channels, depth, end) in enumerate(zip(self.layer_channels, depths, ends, strict=True))
        )
        for stage, channels in enumerate(self.layer_channels):
            self.add_module(f"norm{stage}", nn.LayerNorm(channels))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Encode (N, 3, H, W) images to four layers, finest first."""
        x = self.patch_embed(images)
        maps = []
        for number, stage in enumerate(self.layers):
            x, following = stage(x)
            maps.append(getattr(self, f"norm{number}")(x).permute(0, 3, 1, 2))
            x = following
        return tuple(maps)


class PatchEmbed(nn.Module):
    """Linear embedding of patches of 4x4 pixels, then layer norm."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, channels, PATCH, stride=PATCH)
        self.norm = nn.LayerNorm(channels)

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, 3, H, W) to (N, ceil(H/4), ceil(W/4), channels)."""
        height, width = images.shape[-2:]
        x = self.proj(F.pad(images, (0, -width % PATCH, 0, -height % PATCH)))
        normed: Tensor = self.norm(x.permute(0, 2, 3, 1))
        return normed


class Stage(nn.Module):
    """Blocks whose windows are shifted in every second one, then patch merging unless it is the last stage."""

    def __init__(self, channels: int, drop_paths: list[float], *, heads: int, window: int, merge: bool) -> None:
        super().__init__()
        self.window = window
        self.blocks = nn.ModuleList(
            Block(channels, heads, window=window, shift=window // 2 if number % 2 else 0, drop_path=rate)
            for number, rate in enumerate(drop_paths)
        )
        self.downsample = PatchMerging(channels) if merge else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map (N, h, w, c) to the stage's output of the same shape and the next stage's input (the same if none)."""
        mask = shift_mask(x, self.window, shift=self.window // 2) if len(self.blocks) > 1 else None
        for block in self.blocks:
            x = block(x, mask if block.shift else None)
        return x, x if self.downsample is None else self.downsample(x)


class Block(nn.Module):
    """Window attention and a two-layer perceptron, each after a layer norm and beside a shortcut (figure 3b)."""

    def __init__(self, channels: int, heads: int, *, window: int, shift: int, drop_path: float) -> None:
        super().__init__()
        self.window = window
        self.shift = shift
        self.norm1 = nn.LayerNorm(channels)
        self.attn = WindowAttention(channels, heads, window=window)
        self.drop_path = DropPath(drop_path)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = Mlp(channels)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Map (N, h, w, c) to the same shape; ``mask`` from `shift_mask` if windows are shifted."""
        x = x + self.drop_path(self._attend(self.norm1(x), mask))
        result: Tensor = x + self.drop_path(self.mlp(self.norm2(x)))
        return result

    def _attend(self, x: Tensor, mask: Tensor | None) -> Tensor:
        height, width = x.shape[1:3]
        x = F.pad(x, (0, 0, 0, -width % self.window, 0, -height % self.window))
        padded = (x.shape[1], x.shape[2])
        if self.shift:
            x = torch.roll(x, (-self.shift, -self.shift), dims=(1, 2))
        x = join_windows(self.attn(split_windows(x, self.window), mask), padded, self.window)
        if self.shift:
            x = torch.roll(x, (self.shift, self.shift), dims=(1, 2))
        return x[:, :height, :width]


class Mlp(nn.Module):
    """Two linear layers with a GELU between them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, MLP_RATIO * channels)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(MLP_RATIO * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., channels) to the same shape."""
        result: Tensor = self.fc2(self.act(self.fc1(x)))
        return result


class PatchMerging(nn.Module):
    """2x2 neighbours joined, normed and reduced to twice the channels (section 3.1)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * channels)
        self.reduction = nn.Linear(4 * channels, 2 * channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, h, w, c) to (N, ceil(h/2), ceil(w/2), 2c)."""
        height, width = x.shape[1:3]
        x = F.pad(x, (0, 0, 0, width % 2, 0, height % 2))
        # the order that published weights mean: down first, then right
        x = torch.cat([x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)], dim=-1)
        result: Tensor = self.reduction(self.norm(x))
        return result
