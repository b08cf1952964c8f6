"""Projection heads, which contrastive methods train beside the segmentor and drop at inference."""

from collections.abc import Iterable, Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from segbench.core.errors import InvalidFault
from segbench.losses.precision import at_least_float32


class ProjectionHead(nn.Module):
    """1x1 convolution, ReLU, BatchNorm, 1x1 convolution, in this order (released code of Pissas et al.).

    Args:
        channels: channels of the feature map.
        dim: channels of the embedding.
        normalise: whether embeddings are L2-normalised (in float32).
    """

    def __init__(self, channels: int, dim: int = 256, *, normalise: bool = False) -> None:
        super().__init__()
        self.normalise = normalise
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.ReLU(),
            nn.BatchNorm2d(channels, momentum=0.0003),
            nn.Conv2d(channels, dim, 1),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Project (N, channels, h, w) to (N, dim, h, w)."""
        embedding = self.layers(features)
        return F.normalize(at_least_float32(embedding), dim=1) if self.normalise else embedding


class ProjectionHeads(nn.Module):
    """One projection head per selected encoder layer, numbered from 1, the finest.

    Args:
        layer_channels: channels of all encoder layers, finest first.
        layers: numbers of the layers that get a head.
        dim: channels of the embeddings.
        normalise: whether embeddings are L2-normalised.

    Raises:
        InvalidFault: the encoder does not have one of the layers.
    """

    def __init__(
        self, layer_channels: Sequence[int], layers: Iterable[int], *, dim: int = 256, normalise: bool = False
    ) -> None:
        super().__init__()
        wanted = sorted(set(layers))
        unknown = [layer for layer in wanted if not 1 <= layer <= len(layer_channels)]
        if unknown:
            raise InvalidFault(
                f"The method uses encoder layer {unknown[0]}, but this encoder has layers 1 to {len(layer_channels)}."
            )
        self.heads = nn.ModuleDict(
            {str(layer): ProjectionHead(layer_channels[layer - 1], dim, normalise=normalise) for layer in wanted}
        )

    def forward(self, layers: Sequence[Tensor]) -> dict[int, Tensor]:
        """Return embeddings (N, dim, h, w) by layer number."""
        return {int(layer): head(layers[int(layer) - 1]) for layer, head in self.heads.items()}

    def zero(self) -> Tensor:
        """Return 0 with every parameter in its graph: data-parallel training expects a gradient for each per step."""
        terms = [parameter.sum() * 0 for parameter in self.parameters()]
        return sum(terms[1:], start=terms[0])
