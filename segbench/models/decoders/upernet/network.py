"""UPerNet's decoder for one task (Xiao et al. 2018, arXiv 1807.10221, section 3.1), as Swin's authors build it."""

from torch import Tensor, nn

from segbench.core.spec import Size
from segbench.models.decoders.auxiliary import build_auxiliary
from segbench.models.decoders.layers import conv_norm_relu, dropout, join, norm_of, resize
from segbench.models.decoders.pyramid import PyramidPooling
from segbench.models.segmentor import Backbone, Decoded, Decoder

from .options import Options

CLASSIFIER_STD = 0.01


def build(options: Options, *, backbone: Backbone, num_classes: int, align_corners: bool) -> Decoder:
    """Build the decoder for all layers of ``backbone``.

    Convolutions start Kaiming-normal (fan out), both classifiers at N(0, 0.01) with biases 0, as mmsegmentation's do.
    """
    decoder = UPerNet(options, backbone.layer_channels, num_classes=num_classes, align_corners=align_corners)
    for name, module in decoder.named_modules():
        if not isinstance(module, nn.Conv2d):
            continue
        if name.endswith("classifier"):
            nn.init.normal_(module.weight, std=CLASSIFIER_STD)
        else:
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    return decoder


class UPerNet(Decoder):
    """Pyramid pooling on the coarsest layer, a feature pyramid down to the finest, all its levels fused there."""

    def __init__(
        self, options: Options, layer_channels: tuple[int, ...], *, num_classes: int, align_corners: bool
    ) -> None:
        super().__init__()
        width, norm = options.channels, norm_of(options)
        self.embedding_channels = width
        self.align_corners = align_corners
        self.aux_layer = options.aux_layer
        if options.contrast_layers == "fpn":
            self.layer_channels = (width,) * len(layer_channels)
        self.pooling = PyramidPooling(
            layer_channels[-1], width, bins=options.bins, norm=norm, align_corners=align_corners
        )
        self.bottleneck = conv_norm_relu(self.pooling.out_channels, width, 3, norm=norm)
        self.lateral = nn.ModuleList(conv_norm_relu(channels, width, 1, norm=norm) for channels in layer_channels[:-1])
        self.smooth = nn.ModuleList(conv_norm_relu(width, width, 3, norm=norm) for _ in layer_channels[:-1])
        self.fuse = conv_norm_relu(len(layer_channels) * width, width, 3, norm=norm)
        self.dropout = dropout(options.dropout, of="channels")
        self.classifier = nn.Conv2d(width, num_classes, 1)
        self.auxiliary = build_auxiliary(options, layer_channels, num_classes=num_classes, dropout_of="channels")

    def forward(self, layers: tuple[Tensor, ...], size: Size) -> Decoded:
        """Decode ``layers`` (N, c_i, h_i, w_i), finest first, at the size of the first.

        Returns:
            Logits (N, C, h_1, w_1), embedding (N, channels, h_1, w_1), in training ``aux`` logits at their layer's
            size; with ``contrast_layers: fpn`` also the pyramid's levels (N, channels, h_i, w_i), finest first.
        """
        pyramid = self._pyramid(layers)
        joined = join(pyramid, align_corners=self.align_corners)
        embedding: Tensor = self.dropout(self.fuse(joined))
        aux = {}
        if self.auxiliary is not None and self.training:
            aux["aux"] = self.auxiliary(layers[self.aux_layer])
        logits = self.classifier(embedding)
        if self.layer_channels is None:
            return Decoded(logits, embedding, aux)
        return Decoded(logits, embedding, aux, pyramid, joined if self.training else None)

    def _pyramid(self, layers: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return the levels (N, channels, h_i, w_i), finest first; the coarsest is the pooled map itself."""
        x = self.bottleneck(self.pooling(layers[-1]))
        levels = [x]
        for level in reversed(range(len(self.lateral))):
            size = (layers[level].shape[-2], layers[level].shape[-1])
            x = self.lateral[level](layers[level]) + resize(x, size, align_corners=self.align_corners)
            levels.append(self.smooth[level](x))
        return tuple(levels[::-1])
