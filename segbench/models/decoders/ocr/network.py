"""Object-contextual representations (Yuan et al. 2020, arXiv 1909.11065, section 3.2 and figure 3)."""

import torch
from torch import Tensor, nn

from segbench.core.spec import Size
from segbench.models.decoders.layers import Norm, conv_norm_relu, dropout, join, norm_of, resize
from segbench.models.segmentor import Backbone, Decoded, Decoder

from .options import Options


def build(options: Options, *, backbone: Backbone, num_classes: int, align_corners: bool) -> Decoder:
    """Build the decoder with PyTorch's initial weights for the layers of ``backbone`` that its options name."""
    return OCR(options, backbone.layer_channels, num_classes=num_classes, align_corners=align_corners)


class OCR(Decoder):
    """Soft object regions from coarse logits, their representations, and each pixel's attention to them.

    The coarse logits are part of the computation, so ``aux`` is there in evaluation too; the gradient of the final
    logits flows into them.
    """

    def __init__(
        self, options: Options, layer_channels: tuple[int, ...], *, num_classes: int, align_corners: bool
    ) -> None:
        super().__init__()
        norm, width = norm_of(options), options.channels
        self.concat = options.aux_features == "concat"
        coarse, fine = (sum(layer_channels),) * 2 if self.concat else layer_channels[-2:]
        aux_width = options.aux_channels or coarse
        kernel = 3 if options.aux_head == "conv3x3" else 1
        self.embedding_channels = width
        self.align_corners = align_corners
        self.regions = nn.Sequential(
            conv_norm_relu(coarse, aux_width, kernel, norm=norm, bias=options.conv_bias),
            dropout(options.aux_dropout, of="channels"),
            nn.Conv2d(aux_width, num_classes, 1),
        )
        self.pixels = conv_norm_relu(fine, width, 3, norm=norm, bias=options.conv_bias)
        self.attention = ObjectAttention(width, options.key_channels, norm=norm, bias=options.attention_bias)
        self.fuse = conv_norm_relu(2 * width, width, 1, norm=norm, bias=options.attention_bias)
        self.dropout = dropout(options.dropout, of="channels")
        self.classifier = nn.Conv2d(width, num_classes, 1)

    def forward(self, layers: tuple[Tensor, ...], size: Size) -> Decoded:
        """Decode ``layers`` (N, c_i, h_i, w_i) at the size (h, w) of the first (``concat``) or the last.

        Returns:
            Logits (N, C, h, w), embedding (N, channels, h, w), ``aux`` logits of the soft object regions.
        """
        (coarse, fine), joined = layers[-2:], None
        if self.concat:
            coarse = fine = joined = join(layers, align_corners=self.align_corners)
        logits = self.regions(coarse)
        pixels = self.pixels(fine)
        regions = resize(logits, (pixels.shape[-2], pixels.shape[-1]), align_corners=self.align_corners)
        context = self.attention(pixels, object_representations(regions, pixels))
        embedding = self.dropout(self.fuse(torch.cat((context, pixels), dim=1)))
        return Decoded(self.classifier(embedding), embedding, {"aux": logits}, joined=joined if self.training else None)


def object_representations(logits: Tensor, pixels: Tensor) -> Tensor:
    """Return the mean of the pixels of each soft object region (section 3.2, ``f_k``).

    Args:
        logits: (N, C, h, w); region k weighs pixel i with the softmax of ``logits`` of class k over all pixels.
        pixels: (N, c, h, w).

    Returns:
        (N, c, C, 1), in the type of ``pixels``.
    """
    weights = logits.flatten(2).softmax(dim=2).to(pixels.dtype)
    return torch.einsum("nkp,ncp->nck", weights, pixels.flatten(2)).unsqueeze(-1)


class ObjectAttention(nn.Module):
    """Attention of pixels to the object regions (section 3.2, ``w_ik`` and ``y_i``).

    The division of the relation by the root of the key's length is the released code's, not the paper's.
    """

    def __init__(self, channels: int, key_channels: int, *, norm: Norm, bias: bool) -> None:
        super().__init__()
        self.scale = key_channels**-0.5

        def conv(inputs: int, outputs: int) -> nn.Sequential:
            return conv_norm_relu(inputs, outputs, 1, norm=norm, bias=bias)

        self.query = nn.Sequential(conv(channels, key_channels), conv(key_channels, key_channels))
        self.key = nn.Sequential(conv(channels, key_channels), conv(key_channels, key_channels))
        self.value = conv(channels, key_channels)
        self.out = conv(key_channels, channels)

    def forward(self, pixels: Tensor, objects: Tensor) -> Tensor:
        """Map pixels (N, c, h, w) and objects (N, c, C, 1) to the pixels' context (N, c, h, w)."""
        query = self.query(pixels)
        key, value = self.key(objects).squeeze(-1), self.value(objects).squeeze(-1)
        relation = torch.einsum("ndhw,ndk->nkhw", query, key) * self.scale
        relation = relation.softmax(dim=1).to(value.dtype)
        context: Tensor = self.out(torch.einsum("nkhw,ndk->ndhw", relation, value))
        return context
