"""DeepLabV3's decoder (Chen et al. 2017, arXiv 1706.05587, section 3.3 and figure 5) in the variants papers use."""

from torch import Tensor, nn

from segbench.core.spec import Size
from segbench.models.decoders.aspp import ASPP
from segbench.models.decoders.auxiliary import build_auxiliary
from segbench.models.decoders.layers import conv_norm_relu, dropout, initialise, norm_of
from segbench.models.segmentor import Backbone, Decoded, Decoder

from .options import Options


def build(options: Options, *, backbone: Backbone, num_classes: int, align_corners: bool) -> Decoder:
    """Build the decoder for the coarsest layer of ``backbone``; it resizes nothing, so corners do not matter."""
    decoder = DeepLabV3(options, backbone.layer_channels, num_classes=num_classes)
    initialise(decoder, options.init, classifier=decoder.classifier)
    return decoder


class DeepLabV3(Decoder):
    """Atrous spatial pyramid pooling, dropout, possibly one more 3x3 convolution, 1x1 classifier."""

    def __init__(self, options: Options, layer_channels: tuple[int, ...], *, num_classes: int) -> None:
        super().__init__()
        width, norm = options.channels, norm_of(options)
        self.embedding_channels = width
        self.aux_layer = options.aux_layer
        self.aspp = ASPP(
            layer_channels[-1],
            width,
            rates=options.rates,
            norm=norm,
            pooling_first=options.pooling_first,
            project_kernel=options.project_kernel,
        )
        self.dropout = dropout(options.dropout, of=options.dropout_of)
        self.refine: nn.Module = nn.Identity()
        if options.refine != "none":
            self.refine = conv_norm_relu(width, width, 3, norm=norm, relu=options.refine == "conv3x3_relu")
        self.classifier = nn.Conv2d(width, num_classes, 1)
        self.auxiliary = build_auxiliary(
            options, layer_channels, num_classes=num_classes, dropout_of=options.dropout_of
        )

    def forward(self, layers: tuple[Tensor, ...], size: Size) -> Decoded:
        """Decode ``layers`` (N, c_i, h_i, w_i) at the size (h, w) of the last.

        Returns:
            Logits (N, C, h, w), embedding (N, channels, h, w), in training ``aux`` logits at their layer's size.
        """
        embedding: Tensor = self.refine(self.dropout(self.aspp(layers[-1])))
        aux = {}
        if self.auxiliary is not None and self.training:
            aux["aux"] = self.auxiliary(layers[self.aux_layer])
        return Decoded(self.classifier(embedding), embedding, aux)
