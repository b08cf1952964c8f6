"""ContrastiveSeg's projection head."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segbench.core.spec import Size
from segbench.models.decoders.layers import initialise, join

from .norm_at import norm_at


class Embedded(NamedTuple):
    """Output of a projection head.

    Attributes:
        maps: (N, dim, h, w) at the size of the embedded layer, without a gradient if single pixels are embedded too;
            None if not wanted.
        pixels: (S, dim); None if no places are given.
    """

    maps: Tensor | None
    pixels: Tensor | None


class Projection(nn.Module):
    """1x1 convolution, batch norm, ReLU, 1x1 convolution (released code).

    Its output is not normalised; the losses normalise the few pixels that they draw.

    Args:
        layer_channels: channels of all encoder layers, finest first.
        features: ``concat``: all layers, resized to the finest one and concatenated; ``last``: the coarsest.
        dim: channels of the embedding.
        align_corners: how layers are resized.
        init: PyTorch's default weights, or Kaiming normal over the fan-in with biases 0.
    """

    def __init__(
        self,
        layer_channels: Sequence[int],
        *,
        features: Literal["concat", "last"],
        dim: int,
        align_corners: bool,
        init: Literal["torch", "kaiming"] = "torch",
    ) -> None:
        super().__init__()
        channels = sum(layer_channels) if features == "concat" else layer_channels[-1]
        self.concatenates, self.align_corners = features == "concat", align_corners
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, 1),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, dim, 1),
        )
        initialise(self, init)

    def forward(
        self,
        layers: Sequence[Tensor],
        joined: Tensor | None = None,
        *,
        places: Tensor | None = None,
        maps: bool = True,
    ) -> Embedded:
        """Embed all pixels or, with a gradient, only those drawn, which are far fewer.

        Args:
            layers: encoder layers (N, c_i, h_i, w_i), finest first.
            joined: their concatenation, as in a segmentor's output; None if it has not been computed.
            places: (S,) int64 into the flattened (N, h, w); None: no single pixels.
            maps: whether to return whole maps beside single pixels.
        """
        features = layers[-1]
        if self.concatenates:
            features = join(layers, align_corners=self.align_corners) if joined is None else joined
        if places is None:
            return Embedded(self.layers(features), None)
        convolution, norm, relu, last = self.layers
        assert isinstance(norm, nn.BatchNorm2d)
        assert isinstance(last, nn.Conv2d)
        drawn, normalised = norm_at(convolution(features), norm, places)
        pixels = F.linear(F.relu(drawn), last.weight.flatten(1), last.bias)
        if not maps:
            return Embedded(None, pixels)
        with torch.no_grad():
            return Embedded(last(relu(normalised)), pixels)

    def size(self, layers: Sequence[Tensor]) -> Size:
        """Return (h, w) of the embedding maps."""
        layer = layers[0] if self.concatenates else layers[-1]
        return layer.shape[-2], layer.shape[-1]

    def zero(self) -> Tensor:
        """Return 0 with every parameter in its graph: data-parallel training expects a gradient for each per step."""
        return torch.stack([parameter.sum() * 0 for parameter in self.parameters()]).sum()
