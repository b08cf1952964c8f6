"""Attentional class features (Zhang et al. 2019, arXiv 1909.09408, section 3, recalled; see the options)."""

import torch
from torch import Tensor, nn

from segbench.core.spec import Size
from segbench.models.decoders.aspp import ASPP
from segbench.models.decoders.auxiliary import build_auxiliary
from segbench.models.decoders.layers import conv_norm_relu, dropout, norm_of
from segbench.models.segmentor import Backbone, Decoded, Decoder

from .options import Options


def build(options: Options, *, backbone: Backbone, num_classes: int, align_corners: bool) -> Decoder:
    """Build the decoder with PyTorch's initial weights; it resizes nothing, so corners do not matter."""
    return ACFNet(options, backbone.layer_channels, num_classes=num_classes)


class ACFNet(Decoder):
    """Coarse logits, the centres of their classes, each pixel's mixture of centres, and a head on all of it.

    The coarse logits are part of the computation, so ``coarse`` is there in evaluation too; the gradient of the final
    logits flows into them.
    """

    def __init__(self, options: Options, layer_channels: tuple[int, ...], *, num_classes: int) -> None:
        super().__init__()
        width, centre, norm = options.channels, options.center_channels, norm_of(options)
        self.embedding_channels = options.fine_channels
        self.aux_layer = options.aux_layer
        self.aspp = ASPP(layer_channels[-1], width, rates=options.rates, norm=norm, project_kernel=None)
        features = self.aspp.out_channels
        first, second = options.coarse_dropout
        self.coarse = nn.Sequential(
            conv_norm_relu(features, width, 1, norm=norm),
            dropout(first, of="channels"),
            conv_norm_relu(width, width, 3, norm=norm),
            dropout(second, of="channels"),
            nn.Conv2d(width, num_classes, 1),
        )
        self.reduce = nn.Sequential(
            conv_norm_relu(features, centre, 1, norm=norm), dropout(options.center_dropout, of="channels")
        )
        self.attend = nn.Conv2d(centre, centre, 1)
        fine_norm = norm._replace(slope=options.fine_slope)
        self.fine = conv_norm_relu(centre + features, options.fine_channels, 3, norm=fine_norm)
        self.dropout = dropout(options.fine_dropout, of="channels")
        self.classifier = nn.Conv2d(options.fine_channels, num_classes, 1)
        self.auxiliary = build_auxiliary(options, layer_channels, num_classes=num_classes, dropout_of="channels")

    def forward(self, layers: tuple[Tensor, ...], size: Size) -> Decoded:
        """Decode ``layers`` (N, c_i, h_i, w_i) at the size (h, w) of the last.

        Returns:
            Logits (N, C, h, w), embedding (N, fine_channels, h, w), ``coarse`` logits (N, C, h, w) and, in training,
            ``aux`` logits at their layer's size.
        """
        features = self.aspp(layers[-1])
        coarse = self.coarse(features)
        context = self.attend(class_attention(coarse, class_centres(coarse, self.reduce(features))))
        embedding: Tensor = self.dropout(self.fine(torch.cat((context, features), dim=1)))
        aux = {"coarse": coarse}
        if self.auxiliary is not None and self.training:
            aux["aux"] = self.auxiliary(layers[self.aux_layer])
        return Decoded(self.classifier(embedding), embedding, aux)


def class_centres(logits: Tensor, features: Tensor) -> Tensor:
    """Class centre block: mean of the features, weighted by the probability P_k(i) that pixel i is of class k.

    A class that is nowhere probable has a centre too, that of the pixels where it is least improbable: the weights,
    P_k(i) over its sum over i, are formed as a softmax over pixels of log P_k.

    Args:
        logits: (N, C, h, w) of which P is the softmax over classes.
        features: (N, c, h, w).

    Returns:
        (N, c, C), in the type of ``features``.
    """
    weights = logits.log_softmax(1).flatten(2).softmax(2).to(features.dtype)
    return torch.einsum("nkp,ncp->nck", weights, features.flatten(2))


def class_attention(logits: Tensor, centres: Tensor) -> Tensor:
    """Class attention block: sum over classes of P_k(i) times the centre of class k.

    Args:
        logits: (N, C, h, w) of which P is the softmax over classes.
        centres: (N, c, C).

    Returns:
        (N, c, h, w), in the type of ``centres``.
    """
    return torch.einsum("nkhw,nck->nchw", logits.softmax(1).to(centres.dtype), centres)
