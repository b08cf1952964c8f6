"""SegSort's network (Hwang et al. 2019, arXiv 1910.06962; layers, clustering and retrieval as its released code).

The network has no classifier. What it has learnt to tell apart it is told the names of by a bank of prototypes, one for
each segment of the training images; it is empty until somebody fills it, and part of the weights.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segbench.core.errors import InvalidFault
from segbench.core.spec import Size
from segbench.models.decoders.layers import conv_norm_relu, dropout, norm_of
from segbench.models.decoders.pyramid import PyramidPooling
from segbench.models.growing import Growing
from segbench.models.segmentor import Backbone, Decoded, Decoder

from .clustering import cells_of_side, grid_of, member_sums, spherical_kmeans, unit, with_places
from .options import Options
from .retrieval import nearest_votes


def build(options: Options, *, backbone: Backbone, num_classes: int, align_corners: bool) -> "SegSort":
    """Build the decoder for the coarsest layer of ``backbone``, with PyTorch's initial weights and an empty bank."""
    return SegSort(options, backbone.layer_channels, num_classes=num_classes, align_corners=align_corners)


class SegSort(Growing, Decoder):
    """AAF's PSPNet with an embedding of unit length in the place of its classifier, and a bank of prototypes.

    Attributes:
        options: what the recipe says.
        bank: (K, D) float32 unit vectors, saved with the weights.
        bank_labels: (K,) int64, their classes.
    """

    growing = ("bank", "bank_labels")
    votes = True

    bank: Tensor
    bank_labels: Tensor

    def __init__(
        self, options: Options, layer_channels: tuple[int, ...], *, num_classes: int, align_corners: bool
    ) -> None:
        super().__init__()
        self.options, self.num_classes, self.align_corners = options, num_classes, align_corners
        self.embedding_channels = options.embedding_dim
        self.lr_factor = options.lr_factor
        width, norm = options.channels, norm_of(options)
        self.pyramid = PyramidPooling(
            layer_channels[-1], width, bins=options.bins, norm=norm, align_corners=align_corners
        )
        self.conv = conv_norm_relu(self.pyramid.out_channels, width, 3, norm=norm)
        self.dropout = dropout(options.dropout, of="channels")
        self.projection = nn.Conv2d(width, options.embedding_dim, 1)
        self.register_buffer("bank", torch.zeros(0, options.embedding_dim))
        self.register_buffer("bank_labels", torch.zeros(0, dtype=torch.int64))

    def forward(self, layers: tuple[Tensor, ...], size: Size) -> Decoded:
        """Decode ``layers`` (N, c_i, h_i, w_i) of images of ``size`` (H, W).

        Returns:
            Votes (N, C, h, w) float32 at the size of the last layer, or (N, C, H, W) where the embedding is enlarged;
            embedding (N, D, h, w); no auxiliary logits. In training nobody votes: all 0, at the size of the last layer.

        Raises:
            InvalidFault: votes are asked for, and the bank is empty.
        """
        raw = self._project(layers)
        embedding = unit(raw, dim=1)
        if self.training:
            shape = (len(embedding), self.num_classes, *embedding.shape[-2:])
            return Decoded(embedding.new_zeros(()).expand(shape), embedding, {})
        if self.options.enlarged == "votes":
            return Decoded(self.vote(embedding), embedding, {})
        pixels = F.interpolate(raw, size=size, mode="bilinear", align_corners=self.align_corners)
        return Decoded(self.vote(unit(pixels, dim=1)), embedding, {})

    def embed(self, layers: tuple[Tensor, ...]) -> Tensor:
        """Embed the pixels as unit vectors (N, D, h, w), float32 (float64 for layers in float64), without the bank."""
        return unit(self._project(layers), dim=1)

    def gathered(self, layers: tuple[Tensor, ...]) -> Tensor:
        """Return the embedding (N, D, h, w) to resize and normalise for the bank; float32 or float64."""
        return self._project(layers) if self.options.enlarged == "embedding" else self.embed(layers)

    def _project(self, layers: tuple[Tensor, ...]) -> Tensor:
        """Return the embedding (N, D, h, w) before normalisation, float32 or float64."""
        raw: Tensor = self.projection(self.dropout(self.conv(self.pyramid(layers[-1]))))
        return raw.to(torch.promote_types(raw.dtype, torch.float32))

    @torch.no_grad()
    def vote(self, embedding: Tensor) -> Tensor:
        """Cluster the pixels of each image; each pixel gets the votes of its segment.

        Args:
            embedding: (N, D, h, w) unit vectors; places are relative to what is shown.

        Returns:
            (N, C, h, w), the shares of the classes among the prototypes that are most like the pixel's segment.

        Raises:
            InvalidFault: the bank is empty.
        """
        if not len(self.bank) and not embedding.is_meta:  # what it costs can be counted before there is one
            raise InvalidFault(
                "This network has no prototypes yet, so that it cannot tell classes: "
                "a training gathers them before each validation and when it ends.",
                next="segbench list",
            )
        count, _, height, width = embedding.shape
        down, across = self.options.query_grid
        clusters = self.cluster(
            embedding,
            torch.arange(height, device=embedding.device).expand(count, -1) / height,
            torch.arange(width, device=embedding.device).expand(count, -1) / width,
            grid_of(
                cells_of_side(height, down, device=embedding.device).expand(count, -1),
                cells_of_side(width, across, device=embedding.device).expand(count, -1),
                across=across,
            ),
            num_clusters=down * across,
        )
        pixels = embedding.flatten(2).transpose(1, 2)
        segments = unit(member_sums(pixels, clusters, num_clusters=down * across)[0], dim=2)
        votes = nearest_votes(
            segments.flatten(0, 1),
            self.bank,
            self.bank_labels,
            num_classes=self.num_classes,
            neighbours=self.options.neighbours,
        ).view(count, down * across, self.num_classes)
        each = votes.gather(1, clusters[:, :, None].expand(-1, -1, self.num_classes))
        return each.transpose(1, 2).unflatten(2, (height, width))

    def cluster(
        self,
        embedding: Tensor,
        rows: Tensor,
        columns: Tensor,
        first: Tensor,
        *,
        num_clusters: int,
        valid: Tensor | None = None,
    ) -> Tensor:
        """Segment images by k-means of embeddings with positions.

        Args:
            embedding: (N, D, h, w) unit vectors.
            rows: (N, h) place of each row in its picture.
            columns: (N, w), likewise.
            first: (N, h * w) int64, the clusters to begin with.
            num_clusters: K.
            valid: (N, h * w) bool, which pixels count; None: all.

        Returns:
            (N, h * w) int64 in 0..K-1, without gradient.
        """
        located = with_places(embedding.detach(), rows, columns, scale=self.options.location_scale)
        rounds = self.options.cluster_rounds
        return spherical_kmeans(located, first, num_clusters=num_clusters, rounds=rounds, valid=valid)

    def fill(self, prototypes: Tensor, labels: Tensor) -> None:
        """Fill the bank with (K, D) unit vectors and their classes (K,)."""
        self.bank, self.bank_labels = prototypes.to(self.bank), labels.to(self.bank_labels)
