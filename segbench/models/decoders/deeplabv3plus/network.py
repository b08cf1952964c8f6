"""DeepLabV3+'s decoder (Chen et al. 2018, arXiv 1802.02611, section 3.1 and figure 2) in the variants papers use."""

import torch
from torch import Tensor, nn

from segbench.core.spec import Size
from segbench.models.decoders.aspp import ASPP
from segbench.models.decoders.auxiliary import build_auxiliary
from segbench.models.decoders.layers import conv_norm_relu, dropout, initialise, norm_of, resize, separable_conv
from segbench.models.segmentor import Backbone, Decoded, Decoder

from .options import Options


def build(options: Options, *, backbone: Backbone, num_classes: int, align_corners: bool) -> Decoder:
    """Build the decoder for the coarsest and the finest layer of ``backbone``."""
    decoder = DeepLabV3Plus(options, backbone.layer_channels, num_classes=num_classes, align_corners=align_corners)
    initialise(decoder, options.init, classifier=decoder.classifier)
    return decoder


class DeepLabV3Plus(Decoder):
    """DeepLabV3's pyramid at the finest layer's size, concatenated with it, two 3x3 convolutions, 1x1 classifier.

    The embedding is taken before the last dropout: SemiSeg-Contrastive contrasts these features. In evaluation they
    are what the classifier reads.
    """

    def __init__(
        self, options: Options, layer_channels: tuple[int, ...], *, num_classes: int, align_corners: bool
    ) -> None:
        super().__init__()
        width, norm = options.channels, norm_of(options)
        self.embedding_channels = width
        self.align_corners = align_corners
        self.aux_layer = options.aux_layer
        self.aspp = ASPP(
            layer_channels[-1],
            width,
            rates=options.rates,
            eval_rates=options.eval_rates,
            norm=norm,
            separable=options.separable,
            image_pooling=options.image_pooling,
            pooling_first=options.pooling_first,
            project_kernel=options.project_kernel,
        )
        self.low = conv_norm_relu(layer_channels[0], options.low_channels, 1, norm=norm)
        channels = (width + options.low_channels, width)
        self.fuse = nn.Sequential(
            *(
                separable_conv(c, width, norm=norm) if options.separable else conv_norm_relu(c, width, 3, norm=norm)
                for c in channels
            )
        )
        after_fusion, before_classifier = options.dropout
        self.pyramid_dropout = dropout(after_fusion, of=options.dropout_of)
        self.dropout = dropout(before_classifier, of=options.dropout_of)
        self.classifier = nn.Conv2d(width, num_classes, 1)
        self.auxiliary = build_auxiliary(
            options, layer_channels, num_classes=num_classes, dropout_of=options.dropout_of
        )

    def forward(self, layers: tuple[Tensor, ...], size: Size) -> Decoded:
        """Decode ``layers`` (N, c_i, h_i, w_i) at the size (h, w) of the first.

        Returns:
            Logits (N, C, h, w), embedding (N, channels, h, w), in training ``aux`` logits at their layer's size.
        """
        low = self.low(layers[0])
        deep = self.pyramid_dropout(self.aspp(layers[-1]))
        deep = resize(deep, (low.shape[-2], low.shape[-1]), align_corners=self.align_corners)
        embedding: Tensor = self.fuse(torch.cat((deep, low), dim=1))
        aux = {}
        if self.auxiliary is not None and self.training:
            aux["aux"] = self.auxiliary(layers[self.aux_layer])
        return Decoded(self.classifier(self.dropout(embedding)), embedding, aux)
