"""HANet (Choi et al. 2020, arXiv 2003.05128, section 3) in the form of the released code."""

import torch
from torch import Tensor, nn

from segbench.core.spec import Size
from segbench.models.decoders.aspp import ASPP
from segbench.models.decoders.auxiliary import build_auxiliary
from segbench.models.decoders.layers import conv_norm_relu, initialise, norm_of, resize
from segbench.models.segmentor import Backbone, Decoded, Decoder, RowDecoder

from .options import Options
from .unit import HeightAttention, rows_of_pictures, slots_of


def build(options: Options, *, backbone: Backbone, num_classes: int, align_corners: bool) -> Decoder:
    """Build the decoder for the finest and the two coarsest layers of ``backbone``, with Kaiming-normal weights."""
    decoder = HANet(options, backbone.layer_channels, num_classes=num_classes, align_corners=align_corners)
    initialise(decoder, "kaiming")
    return decoder


class HANet(RowDecoder):
    """DeepLabV3+ whose maps are gated by height: the coarsest layer, the pyramid, its bottleneck, the last map.

    Each gate is computed from the map before: stage 3, the gated stage 4, the gated pyramid, and what the last two
    3x3 convolutions read. The position codes are buffers; no parameter is frozen.
    """

    def __init__(
        self, options: Options, layer_channels: tuple[int, ...], *, num_classes: int, align_corners: bool
    ) -> None:
        super().__init__()
        width, norm = options.channels, norm_of(options)
        self.embedding_channels = width
        self.align_corners = align_corners
        self.aux_layer = options.aux_layer
        self.slots = options.slots
        self.aspp = ASPP(
            layer_channels[-1], width, rates=options.rates, norm=norm, pooling_first=True, project_kernel=None
        )
        pyramid, both = self.aspp.out_channels, options.low_channels + width
        self.bottleneck = conv_norm_relu(pyramid, width, 1, norm=norm)
        self.low = conv_norm_relu(layer_channels[0], options.low_channels, 1, norm=norm)
        self.fuse = nn.Sequential(*(conv_norm_relu(channels, width, 3, norm=norm) for channels in (both, width)))
        self.classifier = nn.Conv2d(width, num_classes, 1)
        self.auxiliary = build_auxiliary(options, layer_channels, num_classes=num_classes, dropout_of="channels")
        channels = {
            "stage4": (layer_channels[-2], layer_channels[-1]),
            "aspp": (layer_channels[-1], pyramid),
            "bottleneck": (pyramid, width),
            "decoder": (both, width),
        }
        self.units = nn.ModuleDict(
            {
                name: HeightAttention(
                    *channels[name],
                    slots=options.slots,
                    reduction=options.reduction,
                    dropout=options.unit_dropout,
                    noise=options.position_noise,
                    norm=norm,
                )
                for name in options.units
            }
        )
        if options.unit_weight_decay is not None:
            self.weight_decays = {"units.": options.unit_weight_decay}

    def forward(self, layers: tuple[Tensor, ...], size: Size, rows: Tensor | None = None) -> Decoded:
        """Decode ``layers`` (N, c_i, h_i, w_i) at the size (h, w) of the first.

        Returns:
            Logits (N, C, h, w), embedding (N, channels, h, w), in training ``aux`` logits at their layer's size.
        """
        finest, before, coarsest = layers[0], layers[-2], layers[-1]
        if rows is None:
            rows = rows_of_pictures(len(coarsest), size, device=coarsest.device)
        places = slots_of(rows, self.slots)
        coarsest = self._gated("stage4", before, coarsest, places)
        pyramid = self._gated("aspp", coarsest, self.aspp(coarsest), places)
        deep = self._gated("bottleneck", pyramid, self.bottleneck(pyramid), places)
        low = self.low(finest)
        deep = resize(deep, (low.shape[-2], low.shape[-1]), align_corners=self.align_corners)
        both = torch.cat((low, deep), dim=1)
        embedding = self._gated("decoder", both, self.fuse(both), places)
        aux = {}
        if self.auxiliary is not None and self.training:
            aux["aux"] = self.auxiliary(layers[self.aux_layer])
        return Decoded(self.classifier(embedding), embedding, aux)

    def _gated(self, name: str, low: Tensor, high: Tensor, places: Tensor) -> Tensor:
        """Gate ``high`` if there is such a unit."""
        if name not in self.units:
            return high
        gated: Tensor = self.units[name](low, high, places)
        return gated
