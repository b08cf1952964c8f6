"""SegFormer's decoder (Xie et al. 2021, arXiv 2105.15203, section 3.2 and equation 4) in the variants that exist."""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from segbench.core.spec import Size
from segbench.models.decoders.layers import conv_norm_relu, dropout, norm_of, resize
from segbench.models.segmentor import Backbone, Decoded, Decoder

from .options import Options

CLASSIFIER_STD = 0.01
DROPOUT = {"nv": 0.1, "mmseg": 0.1, "cfn": 0.0}


def build(options: Options, *, backbone: Backbone, num_classes: int, align_corners: bool) -> Decoder:
    """Build the decoder for all layers of ``backbone``.

    Convolutions with batch norm start Kaiming-normal (fan out) and mmsegmentation's classifier at N(0, 0.01) with bias
    0, as in those codes; all others, and CFN's throughout, as PyTorch's.
    """
    decoder = SegFormer(options, backbone.layer_channels, num_classes=num_classes, align_corners=align_corners)
    if options.variant == "cfn":
        return decoder
    for module in decoder.modules():
        if isinstance(module, nn.Conv2d) and module.bias is None:
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    if options.variant == "mmseg" and decoder.classifier.bias is not None:
        nn.init.normal_(decoder.classifier.weight, std=CLASSIFIER_STD)
        nn.init.zeros_(decoder.classifier.bias)
    return decoder


class SegFormer(Decoder):
    """Layers projected by 1x1 convolutions, resized to the finest, concatenated, fused by one more, classified."""

    def __init__(
        self, options: Options, layer_channels: tuple[int, ...], *, num_classes: int, align_corners: bool
    ) -> None:
        super().__init__()
        width, norm, variant = options.channels, norm_of(options), options.variant
        self.embedding_channels = width
        self.align_corners = align_corners or variant == "cfn"
        self.finest_first = variant == "mmseg"
        self.projections = nn.ModuleList(
            conv_norm_relu(channels, width, 1, norm=norm) if variant == "mmseg" else nn.Conv2d(channels, width, 1)
            for channels in layer_channels
        )
        total = len(layer_channels) * width
        if variant == "cfn":
            conv = nn.Conv2d(total, width, 1, bias=False)
            self.fuse = nn.Sequential(OrderedDict(conv=conv, act=nn.ReLU(inplace=True), norm=norm(width)))
        else:
            self.fuse = conv_norm_relu(total, width, 1, norm=norm)
        self.dropout = dropout(DROPOUT[variant] if options.dropout is None else options.dropout, of="channels")
        self.classifier = nn.Conv2d(width, num_classes, 1)

    def forward(self, layers: tuple[Tensor, ...], size: Size) -> Decoded:
        """Decode ``layers`` (N, c_i, h_i, w_i), finest first, at the size of the first.

        CFN's code resizes first and projects then, which is the same: both are linear, and the weights of a resize
        sum to 1.

        Returns:
            Logits (N, C, h_1, w_1), embedding (N, channels, h_1, w_1), no auxiliary logits.
        """
        finest = (layers[0].shape[-2], layers[0].shape[-1])
        maps = [
            resize(project(layer), finest, align_corners=self.align_corners)
            for layer, project in zip(layers, self.projections, strict=True)
        ]
        joined = torch.cat(maps if self.finest_first else maps[::-1], dim=1)
        embedding: Tensor = self.dropout(self.fuse(joined))
        return Decoded(self.classifier(embedding), embedding, {})
