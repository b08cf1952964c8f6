"""DeepLabV2's decoder, ASPP-L (Chen et al. 2018, arXiv 1606.00915, section 3.2 and figure 7)."""

from torch import Tensor, nn

from segbench.core.spec import Size
from segbench.models.decoders.layers import initialise
from segbench.models.segmentor import Backbone, Decoded, Decoder

from .options import Options

RELEASED = 2  # branches that reach the output of SemiSeg-Contrastive's released code


def build(options: Options, *, backbone: Backbone, num_classes: int, align_corners: bool) -> Decoder:
    """Build the decoder for the coarsest layer of ``backbone``; it resizes nothing, so corners do not matter."""
    decoder = DeepLabV2(options, channels=backbone.layer_channels[-1], num_classes=num_classes)
    initialise(decoder, "normal")
    return decoder


class DeepLabV2(Decoder):
    """3x3 convolutions to the classes at several dilations, summed; no batch norm, no dropout.

    Branches that the sum leaves out are kept, so that published files fit, and take no gradient. There is no 1x1
    classifier: the embedding is what the branches read, the encoder's coarsest layer.
    """

    branches: nn.ModuleList

    def __init__(self, options: Options, *, channels: int, num_classes: int) -> None:
        super().__init__()
        self.embedding_channels = channels
        self.branches = nn.ModuleList(
            nn.Conv2d(channels, num_classes, 3, padding=rate, dilation=rate) for rate in options.rates
        )
        self.summed = len(options.rates) if options.branches == "all" else min(RELEASED, len(options.rates))
        self.branches[self.summed :].requires_grad_(False)

    def forward(self, layers: tuple[Tensor, ...], size: Size) -> Decoded:
        """Decode the last of ``layers``, (N, channels, h, w).

        Returns:
            Logits (N, C, h, w), embedding (that layer), no auxiliary logits.
        """
        x = layers[-1]
        logits: Tensor = self.branches[0](x)
        for branch in self.branches[1 : self.summed]:
            logits = logits + branch(x)
        return Decoded(logits, x, {})
