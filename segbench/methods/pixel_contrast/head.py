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
    """What a head makes of the layers.

    Attributes:
        maps: (N, dim, h, w) at the size of the embedded layer, without a gradient where single pixels are embedded
            too; None where nobody wants them.
        pixels: (S, dim); None where no places are given.
    """

    maps: Tensor | None
    pixels: Tensor | None


class Projection(nn.Module):
    """1x1 convolution, batch norm, ReLU, 1x1 convolution (released code).

    Its output is not normalised: the losses do that, for the few pixels that they draw.

    Args:
        layer_channels: channels of all encoder layers, finest first.
        features: ``concat``: all layers, resized to the finest one, together; ``last``: the coarsest.
        dim: of the embedding.
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
        """Embed all pixels, or, with a gradient, those alone that are drawn: a map has far more.

        Args:
            layers: of the encoder, (N, c_i, h_i, w_i), finest first.
            joined: all of them together, as in a segmentor's output; None if nobody has joined them.
            places: (S,) int64 into the flattened (N, h, w); None: no single pixels.
            maps: whether whole maps are wanted beside single pixels.
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
        """(h, w) of the maps of embeddings."""
        layer = layers[0] if self.concatenates else layers[-1]
        return layer.shape[-2], layer.shape[-1]

    def nothing(self) -> Tensor:
        """0, with every parameter in its graph: parallel training expects a gradient for each in every step."""
        return torch.stack([parameter.sum() * 0 for parameter in self.parameters()]).sum()
