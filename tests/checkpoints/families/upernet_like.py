"""UPerNet on Swin in plain torch, as two projects name its modules, written from its definition.

``state_dict()`` is the layout of a project's files: of Swin's authors (``AuthorsSwin``) and of MMSegmentation
(``OpenSwin``). Networks give logits at stride 4. ``tests/peers`` holds MMSegmentation's to the real ones.
"""

from functools import cache
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.checkpoints.families.mmseg_like import FCN, PSP, Network, Unit, concatenated, resized
from tests.checkpoints.families.segformer_like import Four, attended

# Of Swin's the channels of the first stage, blocks and heads (Liu et al. 2021, section 3.3).
SWIN: dict[str, tuple[int, Four, Four]] = {
    "T": (96, (2, 2, 6, 2), (3, 6, 12, 24)),
    "S": (96, (2, 2, 18, 2), (3, 6, 12, 24)),
    "B": (128, (2, 2, 18, 2), (4, 8, 16, 32)),
    "L": (192, (2, 2, 18, 2), (6, 12, 24, 48)),
}


@cache
def differences(window: int) -> Tensor:
    """(T, T) rows of the table of biases, for every pair of tokens of a window, row by row."""
    rows = []
    for one in range(window**2):
        for other in range(window**2):
            down = one // window - other // window + window - 1
            right = one % window - other % window + window - 1
            rows.append(down * (2 * window - 1) + right)
    return torch.tensor(rows, device="cpu").reshape(window**2, window**2)


class WindowAttention(nn.Module):
    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.register_buffer("relative_position_index", differences(window).clone())
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor, shift: int) -> Tensor:
        """Attend within windows of (N, h, w, c) whose borders lie at ``shift`` and every window after; no mask."""
        height, width = x.shape[1:3]
        x = F.pad(x, (0, 0, 0, -width % self.window, 0, -height % self.window))
        answer = torch.zeros_like(x)
        sides = [[0, *range(shift or self.window, side, self.window), side] for side in x.shape[1:3]]
        table = self.relative_position_bias_table
        for top, bottom in pairwise(sides[0]):
            for left, right in pairwise(sides[1]):
                tokens = x[:, top:bottom, left:right].flatten(1, 2)
                down, along = torch.arange(bottom - top), torch.arange(right - left)
                down = down.repeat_interleave(len(along))
                along = along.repeat(bottom - top)
                step = [place[:, None] - place[None] + self.window - 1 for place in (down, along)]
                bias = table[step[0] * (2 * self.window - 1) + step[1]].permute(2, 0, 1)
                out = attended(*self.qkv(tokens).chunk(3, dim=-1), heads=self.heads, bias=bias)
                answer[:, top:bottom, left:right] = self.proj(out).unflatten(1, (bottom - top, right - left))
        return answer[:, :height, :width]


class AuthorsSwinBlock(nn.Module):
    def __init__(self, width: int, heads: int, window: int, shift: int) -> None:
        super().__init__()
        self.shift = shift
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = WindowAttention(width, heads, window)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)})

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x), self.shift)
        answer: Tensor = x + self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x))))
        return answer


class OpenSwinBlock(nn.Module):
    def __init__(self, width: int, heads: int, window: int, shift: int) -> None:
        super().__init__()
        self.shift = shift
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.ModuleDict({"w_msa": WindowAttention(width, heads, window)})
        first = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Dropout(0.0))
        layers = nn.Sequential(first, nn.Linear(4 * width, width), nn.Dropout(0.0))
        self.ffn = nn.ModuleDict({"layers": layers})

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn["w_msa"](self.norm1(x), self.shift)
        answer: Tensor = x + self.ffn["layers"](self.norm2(x))
        return answer


class AuthorsMerging(nn.Module):
    """Four maps beside each other: of even and odd rows in even columns, then in odd columns."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)
        self.norm = nn.LayerNorm(4 * width)

    def neighbours(self, x: Tensor) -> Tensor:
        return torch.cat([x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]], dim=-1)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[1:3]
        answer: Tensor = self.reduction(self.norm(self.neighbours(F.pad(x, (0, 0, 0, width % 2, 0, height % 2)))))
        return answer


class OpenMerging(AuthorsMerging):
    """What `torch.nn.Unfold` makes of 2x2 patches: the four neighbours of a channel beside each other."""

    def neighbours(self, x: Tensor) -> Tensor:
        columns = nn.Unfold(kernel_size=2, stride=2)(x.permute(0, 3, 1, 2))
        return columns.transpose(1, 2).unflatten(1, (x.shape[1] // 2, x.shape[2] // 2))


class Swin(nn.Module):
    """What the two projects' Swins share; ``block``, ``merging`` and names are a project's own."""

    block: type[nn.Module]
    merging: type[AuthorsMerging]
    stages_name: str
    projection_name: str

    def __init__(self, embed: int, depths: Four, heads: Four, *, window: int = 7) -> None:
        super().__init__()
        self.channels = [embed * 2**stage for stage in range(4)]
        projection = nn.Conv2d(3, embed, 4, stride=4)
        self.patch_embed = nn.ModuleDict({self.projection_name: projection, "norm": nn.LayerNorm(embed)})
        stages = []
        for stage, width in enumerate(self.channels):
            shifts = [window // 2 if number % 2 else 0 for number in range(depths[stage])]
            blocks = nn.ModuleList(self.block(width, heads[stage], window, shift) for shift in shifts)
            parts: dict[str, nn.Module] = {"blocks": blocks}
            if stage < 3:
                parts["downsample"] = self.merging(width)
            stages.append(nn.ModuleDict(parts))
            self.add_module(f"norm{stage}", nn.LayerNorm(width))
        self.add_module(self.stages_name, nn.ModuleList(stages))

    def forward(self, images: Tensor) -> list[Tensor]:
        images = F.pad(images, (0, -images.shape[3] % 4, 0, -images.shape[2] % 4))
        x = self.patch_embed["norm"](self.patch_embed[self.projection_name](images).permute(0, 2, 3, 1))
        layers = []
        for number, stage in enumerate(getattr(self, self.stages_name)):
            for block in stage["blocks"]:
                x = block(x)
            layers.append(getattr(self, f"norm{number}")(x).permute(0, 3, 1, 2))
            if "downsample" in stage:
                x = stage["downsample"](x)
        return layers


class AuthorsSwin(Swin):
    block, merging, stages_name, projection_name = AuthorsSwinBlock, AuthorsMerging, "layers", "proj"


class OpenSwin(Swin):
    block, merging, stages_name, projection_name = OpenSwinBlock, OpenMerging, "stages", "projection"


class UPer(PSP):
    """Pooled map on top of a pyramid, whose levels are fused at the finest."""

    def __init__(self, channels: list[int], width: int, num_classes: int) -> None:
        super().__init__(channels[-1], width, num_classes)
        self.lateral_convs = nn.ModuleList(Unit(inputs, width, 1) for inputs in channels[:-1])
        self.fpn_convs = nn.ModuleList(Unit(width, width, 3) for _ in channels[:-1])
        self.fpn_bottleneck = Unit(len(channels) * width, width, 3)

    def features(self, layers: list[Tensor]) -> Tensor:
        x = super().features(layers)
        levels = [x]
        for level in (2, 1, 0):
            lateral = self.lateral_convs[level](layers[level])
            x = lateral + resized(x, lateral)
            levels.insert(0, self.fpn_convs[level](x))
        fused: Tensor = self.fpn_bottleneck(concatenated(levels))
        return fused


def upernet(encoder: Swin, num_classes: int, *, width: int = 512, aux: int | None = 256, layer: int = 2) -> Network:
    auxiliary = None if aux is None else FCN(encoder.channels[layer], aux, num_classes, layer=layer)
    return Network(encoder, UPer(encoder.channels, width, num_classes), auxiliary)
