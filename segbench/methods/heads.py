"""Projection heads: what contrastive methods train beside the segmentor and drop at inference."""

from collections.abc import Iterable, Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from segbench.core.errors import InvalidFault
from segbench.losses.precision import at_least_float32


class ProjectionHead(nn.Module):
    """1x1 convolution, ReLU, BatchNorm, 1x1 convolution, in this order (released code of Pissas et al.).

    Args:
        channels: of the feature map.
        dim: of the embedding.
        normalise: whether embeddings are brought to unit length (in float32).
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
        """(N, channels, h, w) to (N, dim, h, w)."""
        embedding = self.layers(features)
        return F.normalize(at_least_float32(embedding), dim=1) if self.normalise else embedding


class ProjectionHeads(nn.Module):
    """One head for each of some encoder layers, counted from 1, the finest.

    Args:
        layer_channels: channels of all encoder layers, finest first.
        layers: which of them get a head.
        dim: of the embeddings.
        normalise: whether embeddings are brought to unit length.

    Raises:
        InvalidFault: a layer that the encoder does not have.
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
        """Embeddings (N, dim, h, w) by layer number."""
        return {int(layer): head(layers[int(layer) - 1]) for layer, head in self.heads.items()}

    def nothing(self) -> Tensor:
        """0, with every parameter in its graph: parallel training expects a gradient for each in every step."""
        terms = [parameter.sum() * 0 for parameter in self.parameters()]
        return sum(terms[1:], start=terms[0])
