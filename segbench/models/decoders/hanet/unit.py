"""Height-driven attention (Choi et al. 2020, arXiv 2003.05128, section 3) in the form of the released code."""

import math
from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segbench.core.spec import Size
from segbench.models.decoders.layers import Norm

NOISE_REACH = 2  # slots
_WIDE, _CYCLES = 50, (10.0, 100.0)  # the position code's base above so many channels, and up to it
# Of a slot, and far less than one row of any picture: in float32, 3/10 of 10 slots may come out below the third.
_ROUNDING = 1e-4


class HeightAttention(nn.Module):
    """A gate for each channel of a map and each height, computed from row means of the map before it.

    Args:
        low_channels: channels of the map that is read.
        channels: channels of the map that is gated.
        slots: heights that are told apart.
        reduction: ``low_channels`` over the channels inside, which are rounded up.
        dropout: probability of dropping a channel of the row means.
        noise: standard deviation of what is added to positions in training, in slots.
        norm: of both batch norms.
    """

    code: Tensor

    def __init__(
        self,
        low_channels: int,
        channels: int,
        *,
        slots: int,
        reduction: int,
        dropout: float,
        noise: float,
        norm: Norm,
    ) -> None:
        super().__init__()
        width = math.ceil(low_channels / reduction)
        self.slots, self.noise = slots, noise
        self.dropout = nn.Dropout1d(dropout)
        self.reduce = _normed(nn.Conv1d(low_channels, width, 1, bias=False), norm)
        self.expand = _normed(nn.Conv1d(width, 2 * width, 3, padding=1), norm)
        self.gate = nn.Conv1d(2 * width, channels, 3, padding=1)
        # Fixed, and made anew from its formula: no part of checkpoints.
        self.register_buffer("code", position_code(slots, width), persistent=False)

    def forward(self, low: Tensor, high: Tensor, places: Tensor) -> Tensor:
        """Gate a map.

        Args:
            low: (N, low_channels, h, w), what is read.
            high: (N, channels, H, W), what is gated.
            places: (N, slots) int64, which slot of the picture each of the image's slots is, ``slots`` in the padding.

        Returns:
            ``high``, every row of a channel times a factor in (0, 1).
        """
        means = self.reduce(self.dropout(F.adaptive_avg_pool2d(low, (self.slots, 1)).squeeze(-1)))
        code = self.code[self._noisy(places)].transpose(1, 2).to(means.dtype)
        gates = self.gate(self.expand(means + code)).sigmoid()
        gates = F.interpolate(gates, size=high.shape[-2], mode="linear", align_corners=False)
        return high * gates.unsqueeze(-1).to(high.dtype)

    def _noisy(self, places: Tensor) -> Tensor:
        """In training ``floor(N(0, noise))``, of at most two slots either way, is added to each; the ends stay."""
        if not (self.training and self.noise):
            return places
        noise = (self.noise * torch.randn(places.shape, device=places.device)).floor()
        return (places + noise.clamp(-NOISE_REACH, NOISE_REACH).long()).clamp(0, self.slots)


def position_code(slots: int, width: int) -> Tensor:
    """Return the position encoding: 1 + sin(angle) in even channels j, 1 + cos(angle) in odd ones.

    The angle at position p is ``p / cycle^(2 floor(j / 2) / width)``, where the cycle is 10 for more than 50 channels
    and 100 for fewer.

    Returns:
        (slots + 1, width) float32; the last position is the padding's.
    """
    channel = torch.arange(width, dtype=torch.float64)
    cycle = _CYCLES[0] if width > _WIDE else _CYCLES[1]
    position = torch.arange(slots + 1, dtype=torch.float64)[:, None]
    angle = position / cycle ** (2 * (channel // 2) / width)
    return (1 + torch.where(channel % 2 == 0, angle.sin(), angle.cos())).float()


def slots_of(rows: Tensor, slots: int) -> Tensor:
    """Return the slot of the picture at the first row of each of an image's slots.

    For a picture of 1024 rows and 16 slots this is the released code's ``row // 8 // 8``, resized to 16 values with
    nearest-neighbour interpolation.

    Args:
        rows: (N, H) float32, positions in the picture in [0, 1), 1 in the padding.
        slots: number of slots.

    Returns:
        (N, slots) int64 in 0..slots; ``slots`` is the padding's.
    """
    taken = torch.arange(slots, device=rows.device) * rows.shape[1] // slots
    return (rows[:, taken] * slots + _ROUNDING).long()


def rows_of_pictures(images: int, size: Size, *, device: torch.device) -> Tensor:
    """Return the (N, H) positions of the rows of whole pictures."""
    places = torch.arange(size[0], dtype=torch.float32, device=device) / size[0]
    return places.expand(images, -1)


def _normed(conv: nn.Conv1d, norm: Norm) -> nn.Sequential:
    """Append batch norm and ReLU to a convolution."""
    act = nn.LeakyReLU(norm.slope, inplace=True) if norm.slope else nn.ReLU(inplace=True)
    batch_norm = nn.BatchNorm1d(conv.out_channels, momentum=norm.momentum, eps=norm.eps)
    return nn.Sequential(OrderedDict[str, nn.Module](conv=conv, norm=batch_norm, act=act))
