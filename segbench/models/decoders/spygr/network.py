"""Spatial pyramid based graph reasoning (Li et al. 2020, arXiv 2003.10211).

The abstract confirms a data-dependent Laplacian with a diagonal attention matrix, in the space of the features. What
the formulas add to that is recalled, not re-read: the sigmoid of the attention, coarse to fine summation. Down-sampling
by maxima of 2x2 pixels is an unofficial code's. Ours, as nothing says it: an odd side is rounded up, so that every size
has all levels, levels are resized bilinearly, and a batch norm follows each level's last product.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segbench.core.spec import Size
from segbench.models.decoders.auxiliary import build_auxiliary
from segbench.models.decoders.layers import Norm, conv_norm_relu, dropout, norm_of, resize
from segbench.models.segmentor import Backbone, Decoded, Decoder

from .options import Options


def build(options: Options, *, backbone: Backbone, num_classes: int, align_corners: bool) -> Decoder:
    """Build the decoder for the coarsest layer of ``backbone``, with PyTorch's initial weights."""
    return SpyGR(options, backbone.layer_channels, num_classes=num_classes, align_corners=align_corners)


class SpyGR(Decoder):
    """3x3 convolution, graph reasoning at every level of a pyramid, summed coarse to fine, 1x1 classifier."""

    def __init__(
        self, options: Options, layer_channels: tuple[int, ...], *, num_classes: int, align_corners: bool
    ) -> None:
        super().__init__()
        width, norm = options.channels, norm_of(options)
        self.embedding_channels = width
        self.align_corners = align_corners
        self.aux_layer = options.aux_layer
        self.neck = conv_norm_relu(layer_channels[-1], width, 3, norm=norm)
        self.levels = nn.ModuleList(
            GraphReasoning(width, options.basis, kernel=options.basis_kernel, norm=norm) for _ in range(options.levels)
        )
        self.dropout = dropout(options.dropout, of="channels")
        self.classifier = nn.Conv2d(width, num_classes, 1)
        self.auxiliary = build_auxiliary(options, layer_channels, num_classes=num_classes, dropout_of="channels")

    def forward(self, layers: tuple[Tensor, ...], size: Size) -> Decoded:
        """Decode ``layers`` (N, c_i, h_i, w_i) at the size (h, w) of the last.

        Returns:
            Logits (N, C, h, w), embedding (N, channels, h, w), in training ``aux`` logits at their layer's size.
        """
        maps = [self.neck(layers[-1])]
        for _ in self.levels[1:]:
            maps.append(F.max_pool2d(maps[-1], 2, ceil_mode=True))
        total: Tensor | None = None
        for x, level in zip(reversed(maps), reversed(self.levels), strict=True):
            reasoned = level(x)
            finer = (x.shape[-2], x.shape[-1])
            total = reasoned if total is None else reasoned + resize(total, finer, align_corners=self.align_corners)
        embedding: Tensor = self.dropout(total)
        aux = {}
        if self.auxiliary is not None and self.training:
            aux["aux"] = self.auxiliary(layers[self.aux_layer])
        return Decoded(self.classifier(embedding), embedding, aux)


class GraphReasoning(nn.Module):
    """One level: pixels are the nodes of a graph, and Y = ReLU(BN(L X Theta)) with its normalised Laplacian L."""

    def __init__(self, channels: int, basis: int, *, kernel: int, norm: Norm) -> None:
        super().__init__()
        self.basis = nn.Conv2d(channels, basis, kernel, padding=kernel // 2)
        self.attention = nn.Linear(channels, basis)
        self.theta = conv_norm_relu(channels, channels, 1, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, h, w) to the same shape."""
        phi = self.basis(x).relu().flatten(2)
        attention = self.attention(x.mean((2, 3))).sigmoid()
        differences = laplacian_product(x.flatten(2), phi, attention)
        reasoned: Tensor = self.theta(differences.view_as(x))
        return reasoned


def laplacian_product(x: Tensor, phi: Tensor, attention: Tensor) -> Tensor:
    """L X = X - D^(-1/2) A D^(-1/2) X with A = phi diag(attention) phi^T and D the sums of A's rows.

    A, which has a row and a column for every pixel, is never formed: memory and time grow as n, not as n^2. A pixel
    without any similarity (its row of phi is 0) has D^(-1/2) = 0 and stays as it is.

    Args:
        x: (N, c, n) features of n pixels.
        phi: (N, M, n), not negative.
        attention: (N, M), not negative.

    Returns:
        (N, c, n), in the type of ``x``.
    """
    exact = torch.float64 if phi.dtype == torch.float64 else torch.float32  # of sums over all pixels
    wide, weights = phi.to(exact), attention.to(exact)[:, :, None]
    degree = (wide * (weights * wide.sum(2, keepdim=True))).sum(1, keepdim=True)
    # Below the root of the smallest number its power of -3/2, which the gradient has, would not be finite.
    joined = degree > torch.finfo(exact).tiny ** 0.5
    scale = torch.where(joined, torch.where(joined, degree, 1).rsqrt(), 0)
    scaled = (wide * scale).to(phi.dtype)
    gathered = torch.einsum("ncp,nmp->ncm", x, scaled) * attention[:, None]
    return x - torch.einsum("ncm,nmp->ncp", gathered, scaled).to(x.dtype)
