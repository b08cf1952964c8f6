"""PSPNet's decoder (Zhao et al. 2017, arXiv 1612.01105, section 3 and figure 3)."""

from torch import Tensor, nn

from segbench.core.spec import Size
from segbench.models.decoders.auxiliary import build_auxiliary
from segbench.models.decoders.layers import conv_norm_relu, dropout, norm_of
from segbench.models.decoders.pyramid import PyramidPooling
from segbench.models.segmentor import Backbone, Decoded, Decoder

from .options import Options


def build(options: Options, *, backbone: Backbone, num_classes: int, align_corners: bool) -> Decoder:
    """Build the decoder for the coarsest layer of ``backbone``, with PyTorch's initial weights."""
    return PSPNet(options, backbone.layer_channels, num_classes=num_classes, align_corners=align_corners)


class PSPNet(Decoder):
    """Pyramid pooling, 3x3 convolution, dropout of channels, 1x1 classifier."""

    def __init__(
        self, options: Options, layer_channels: tuple[int, ...], *, num_classes: int, align_corners: bool
    ) -> None:
        super().__init__()
        width, norm = options.channels, norm_of(options)
        self.embedding_channels = width
        self.lr_factor = options.lr_factor
        self.aux_layer = options.aux_layer
        self.pyramid = PyramidPooling(
            layer_channels[-1], width, bins=options.bins, norm=norm, align_corners=align_corners
        )
        self.conv = conv_norm_relu(self.pyramid.out_channels, width, 3, norm=norm)
        self.dropout = dropout(options.dropout, of="channels")
        self.classifier = nn.Conv2d(width, num_classes, 1)
        self.auxiliary = build_auxiliary(options, layer_channels, num_classes=num_classes, dropout_of="channels")

    def forward(self, layers: tuple[Tensor, ...], size: Size) -> Decoded:
        """Decode ``layers`` (N, c_i, h_i, w_i) at the size (h, w) of the last.

        Returns:
            Logits (N, C, h, w), embedding (N, channels, h, w), in training ``aux`` logits at their layer's size.
        """
        embedding: Tensor = self.dropout(self.conv(self.pyramid(layers[-1])))
        aux = {}
        if self.auxiliary is not None and self.training:
            aux["aux"] = self.auxiliary(layers[self.aux_layer])
        return Decoded(self.classifier(embedding), embedding, aux)
