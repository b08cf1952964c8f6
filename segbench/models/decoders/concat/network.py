"""HRNetV2's segmentation head (Sun et al. 2019, arXiv 1904.04514, figure 4b) in the variants papers use."""

from torch import Tensor, nn

from segbench.core.spec import Size
from segbench.models.decoders.layers import join
from segbench.models.segmentor import Backbone, Decoded, Decoder

from .options import Options


def build(options: Options, *, backbone: Backbone, num_classes: int, align_corners: bool) -> Decoder:
    """Build the decoder for all layers of ``backbone``."""
    channels = sum(backbone.layer_channels)
    decoder = Concat(options, channels=channels, num_classes=num_classes, align_corners=align_corners)
    if options.init_std is not None:
        for convolution in (decoder.conv, decoder.classifier):
            nn.init.normal_(convolution.weight, std=options.init_std)
    return decoder


class Concat(Decoder):
    """All layers resized to the finest one and concatenated; convolution, batch norm, 1x1 classifier."""

    def __init__(self, options: Options, *, channels: int, num_classes: int, align_corners: bool) -> None:
        super().__init__()
        wide = options.head == "conv3x3"
        relu = not wide if options.relu is None else options.relu
        classifier_bias = not wide if options.classifier_bias is None else options.classifier_bias
        kernel = 3 if wide else 1
        self.embedding_channels = channels
        self.align_corners = align_corners
        self.conv = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, bias=options.conv_bias)
        self.norm = nn.BatchNorm2d(channels, momentum=options.bn_momentum)
        self.act = nn.ReLU(inplace=True) if relu else nn.Identity()
        self.dropout = nn.Dropout2d(options.dropout) if options.dropout else nn.Identity()
        self.classifier = nn.Conv2d(channels, num_classes, 1, bias=classifier_bias)

    def forward(self, layers: tuple[Tensor, ...], size: Size) -> Decoded:
        """Decode layers (N, c_i, h_i, w_i), finest first, at the size of the first.

        Returns:
            Logits (N, C, h_1, w_1), embedding (N, sum of c_i, h_1, w_1), no auxiliary logits.
        """
        joined = join(layers, align_corners=self.align_corners)
        embedding = self.dropout(self.act(self.norm(self.conv(joined))))
        return Decoded(self.classifier(embedding), embedding, {}, joined=joined if self.training else None)
