"""ContrastiveSeg's projection head."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segbench.core.spec import Size
from segbench.models.decoders.layers import initialise, join

from .norm_at import norm_at


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

    def forward(self, layers: Sequence[Tensor], joined: Tensor | None = None) -> Tensor:
        """Embed every pixel.

        Args:
            layers: of the encoder, (N, c_i, h_i, w_i), finest first.
            joined: all of them together, as in a segmentor's output; None if nobody has joined them.

        Returns:
            (N, dim, h, w) at the size of the embedded layer.
        """
        embeddings: Tensor = self.layers(self._features(layers, joined))
        return embeddings

    def at(self, places: Tensor, layers: Sequence[Tensor], joined: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Embed single pixels, of which a map has far more than are drawn.

        Args:
            places: (S,) int64 into the flattened (N, h, w).
            layers: as of ``forward``.
            joined: as of ``forward``.

        Returns:
            (S, dim), and what the last convolution takes to embed all pixels, (N, K, h, w), without a gradient.
        """
        convolution, norm, relu, last = self.layers
        assert isinstance(norm, nn.BatchNorm2d)
        assert isinstance(last, nn.Conv2d)
        drawn, hidden = norm_at(convolution(self._features(layers, joined)), norm, places)
        return F.linear(F.relu(drawn), last.weight.flatten(1), last.bias), relu(hidden)

    def project(self, hidden: Tensor) -> Tensor:
        """The last convolution: (N, K, h, w) to (N, dim, h, w)."""
        embeddings: Tensor = self.layers[-1](hidden)
        return embeddings

    def size(self, layers: Sequence[Tensor]) -> Size:
        """(h, w) of the maps of embeddings."""
        layer = layers[0] if self.concatenates else layers[-1]
        return layer.shape[-2], layer.shape[-1]

    def _features(self, layers: Sequence[Tensor], joined: Tensor | None) -> Tensor:
        if not self.concatenates:
            return layers[-1]
        return join(layers, align_corners=self.align_corners) if joined is None else joined

    def nothing(self) -> Tensor:
        """0, with every parameter in its graph: parallel training expects a gradient for each in every step."""
        return torch.stack([parameter.sum() * 0 for parameter in self.parameters()]).sum()
