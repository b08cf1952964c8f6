"""SegFormer in plain torch, as two projects name its modules, written from its definition.

``state_dict()`` is the layout of a project's files: of its authors (``AuthorsMiT``) and of MMSegmentation
(``OpenMiT``). Networks give logits at stride 4. ``tests/peers`` holds MMSegmentation's to the real ones.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.checkpoints.families.mmseg_like import Head, Network, Unit, concatenated, resized

Four = tuple[int, int, int, int]
WIDE: Four = (64, 128, 320, 512)
# Of SegFormer's sizes the channels and blocks of the four stages (Xie et al. 2021, table 6).
MIT: dict[str, tuple[Four, Four]] = {
    "B0": ((32, 64, 160, 256), (2, 2, 2, 2)),
    "B1": (WIDE, (2, 2, 2, 2)),
    "B2": (WIDE, (3, 4, 6, 3)),
    "B3": (WIDE, (3, 4, 18, 3)),
    "B4": (WIDE, (3, 8, 27, 3)),
    "B5": (WIDE, (3, 6, 40, 3)),
}
HEADS: Four = (1, 2, 5, 8)
REDUCTIONS: Four = (8, 4, 2, 1)
NARROW: tuple[Four, Four] = ((8, 16, 40, 64), (1, 2, 1, 2))  # as wide in each head as the published ones


def attended(query: Tensor, key: Tensor, value: Tensor, *, heads: int, bias: Tensor | None = None) -> Tensor:
    """Scaled dot products of (N, T, c) tokens in heads, with (heads, T, T) added to the scores."""
    parts = [x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (query, key, value)]
    scores = parts[0] @ parts[1].transpose(2, 3) / parts[0].shape[-1] ** 0.5
    weights = (scores if bias is None else scores + bias).softmax(dim=-1)
    return (weights @ parts[2]).transpose(1, 2).flatten(2)


class AuthorsAttention(nn.Module):
    def __init__(self, width: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.kv, self.proj = nn.Linear(width, width), nn.Linear(width, 2 * width), nn.Linear(width, width)
        if reduction > 1:
            self.sr = nn.Conv2d(width, width, reduction, stride=reduction)
            self.norm = nn.LayerNorm(width, eps=1e-5)
        self.reduction = reduction

    def forward(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        few = tokens
        if self.reduction > 1:
            few = self.norm(self.sr(tokens.transpose(1, 2).unflatten(2, size)).flatten(2).transpose(1, 2))
        key, value = self.kv(few).chunk(2, dim=-1)
        answer: Tensor = self.proj(attended(self.q(tokens), key, value, heads=self.heads))
        return answer


class AuthorsFeedForward(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.dwconv = nn.ModuleDict({"dwconv": nn.Conv2d(4 * width, 4 * width, 3, padding=1, groups=4 * width)})
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        maps = self.dwconv["dwconv"](self.fc1(tokens).transpose(1, 2).unflatten(2, size))
        answer: Tensor = self.fc2(F.gelu(maps.flatten(2).transpose(1, 2)))
        return answer


class AuthorsBlock(nn.Module):
    def __init__(self, width: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = AuthorsAttention(width, heads, reduction)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = AuthorsFeedForward(width)

    def forward(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        tokens = tokens + self.attn(self.norm1(tokens), size)
        answer: Tensor = tokens + self.mlp(self.norm2(tokens), size)
        return answer


class AuthorsPatches(nn.Module):
    def __init__(self, inputs: int, width: int, *, kernel: int, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(inputs, width, kernel, stride=stride, padding=kernel // 2)
        self.norm = nn.LayerNorm(width, eps=1e-5)


class AuthorsMiT(nn.Module):
    def __init__(self, widths: Four, depths: Four) -> None:
        super().__init__()
        inputs = 3
        for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            patches = AuthorsPatches(inputs, width, kernel=3 if stage else 7, stride=2 if stage else 4)
            blocks = [AuthorsBlock(width, HEADS[stage], REDUCTIONS[stage]) for _ in range(depth)]
            self.add_module(f"patch_embed{stage + 1}", patches)
            self.add_module(f"block{stage + 1}", nn.ModuleList(blocks))
            self.add_module(f"norm{stage + 1}", nn.LayerNorm(width, eps=1e-6))
            inputs = width
        self.channels = list(widths)

    def forward(self, x: Tensor) -> list[Tensor]:
        layers = []
        for stage in (1, 2, 3, 4):
            patches = getattr(self, f"patch_embed{stage}")
            x = patches.proj(x)
            size = (x.shape[2], x.shape[3])
            tokens = patches.norm(x.flatten(2).transpose(1, 2))
            for block in getattr(self, f"block{stage}"):
                tokens = block(tokens, size)
            x = getattr(self, f"norm{stage}")(tokens).transpose(1, 2).unflatten(2, size)
            layers.append(x)
        return layers


class OpenAttention(nn.Module):
    """PyTorch's own attention, which has queries, keys and values in one matrix."""

    def __init__(self, width: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        if reduction > 1:
            self.sr = nn.Conv2d(width, width, reduction, stride=reduction)
            self.norm = nn.LayerNorm(width, eps=1e-6)
        self.reduction = reduction

    def forward(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        few = tokens
        if self.reduction > 1:
            few = self.norm(self.sr(tokens.transpose(1, 2).unflatten(2, size)).flatten(2).transpose(1, 2))
        answer: Tensor = self.attn(tokens, few, few, need_weights=False)[0]
        return answer


class OpenFeedForward(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(width, 4 * width, 1),
            nn.Conv2d(4 * width, 4 * width, 3, padding=1, groups=4 * width),
            nn.GELU(),
            nn.Dropout(0.0),
            nn.Conv2d(4 * width, width, 1),
        )

    def forward(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        answer: Tensor = self.layers(tokens.transpose(1, 2).unflatten(2, size)).flatten(2).transpose(1, 2)
        return answer


class OpenBlock(nn.Module):
    def __init__(self, width: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = OpenAttention(width, heads, reduction)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.ffn = OpenFeedForward(width)

    def forward(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        tokens = tokens + self.attn(self.norm1(tokens), size)
        answer: Tensor = tokens + self.ffn(self.norm2(tokens), size)
        return answer


class OpenPatches(nn.Module):
    def __init__(self, inputs: int, width: int, *, kernel: int, stride: int) -> None:
        super().__init__()
        self.projection = nn.Conv2d(inputs, width, kernel, stride=stride, padding=kernel // 2)
        self.norm = nn.LayerNorm(width, eps=1e-6)


class OpenMiT(nn.Module):
    def __init__(self, widths: Four, depths: Four) -> None:
        super().__init__()
        stages = []
        for stage, (inputs, width) in enumerate(pairwise((3, *widths))):
            patches = OpenPatches(inputs, width, kernel=3 if stage else 7, stride=2 if stage else 4)
            blocks = nn.ModuleList(OpenBlock(width, HEADS[stage], REDUCTIONS[stage]) for _ in range(depths[stage]))
            stages.append(nn.ModuleList([patches, blocks, nn.LayerNorm(width, eps=1e-6)]))
        self.layers = nn.ModuleList(stages)
        self.channels = list(widths)

    def forward(self, x: Tensor) -> list[Tensor]:
        layers = []
        for patches, blocks, norm in self.layers:
            x = patches.projection(x)
            size = (x.shape[2], x.shape[3])
            tokens = patches.norm(x.flatten(2).transpose(1, 2))
            for block in blocks:
                tokens = block(tokens, size)
            x = norm(tokens).transpose(1, 2).unflatten(2, size)
            layers.append(x)
        return layers


class AuthorsSegFormer(Head):
    """Its ``conv_seg`` reads 128 channels and is never computed."""

    def __init__(self, channels: list[int], width: int, num_classes: int) -> None:
        super().__init__(128, num_classes)
        for number, inputs in enumerate(channels, start=1):
            self.add_module(f"linear_c{number}", nn.ModuleDict({"proj": nn.Linear(inputs, width)}))
        self.linear_fuse = Unit(4 * width, width, 1)
        self.linear_pred = nn.Conv2d(width, num_classes, 1)

    def forward(self, layers: list[Tensor]) -> Tensor:
        maps = []
        for number, layer in reversed(list(enumerate(layers, start=1))):
            projected = getattr(self, f"linear_c{number}")["proj"](layer.flatten(2).transpose(1, 2))
            maps.append(resized(projected.transpose(1, 2).unflatten(2, layer.shape[2:]), layers[0]))
        logits: Tensor = self.linear_pred(self.linear_fuse(torch.cat(maps, dim=1)))
        return logits


class OpenSegFormer(Head):
    def __init__(self, channels: list[int], width: int, num_classes: int) -> None:
        super().__init__(width, num_classes)
        self.convs = nn.ModuleList(Unit(inputs, width, 1) for inputs in channels)
        self.fusion_conv = Unit(4 * width, width, 1)

    def features(self, layers: list[Tensor]) -> Tensor:
        maps = [conv(layer) for conv, layer in zip(self.convs, layers, strict=True)]
        fused: Tensor = self.fusion_conv(concatenated(maps))
        return fused


def segformer(encoder: AuthorsMiT | OpenMiT, num_classes: int, *, width: int = 256) -> Network:
    head = AuthorsSegFormer if isinstance(encoder, AuthorsMiT) else OpenSegFormer
    return Network(encoder, head(encoder.channels, width, num_classes))
