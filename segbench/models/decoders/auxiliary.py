"""The auxiliary classifier of dilated networks (Zhao et al. 2017, arXiv 1612.01105, section 3.3)."""

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from segbench.core.errors import InvalidFault

from .layers import conv_norm_relu, dropout, norm_of
from .settings import AuxiliaryOptions, DropoutOf


def build_auxiliary(
    options: AuxiliaryOptions, layer_channels: Sequence[int], *, num_classes: int, dropout_of: DropoutOf
) -> nn.Module | None:
    """Build the auxiliary classifier, which maps (N, c, h, w) of its layer to logits (N, C, h, w); None without one.

    Raises:
        InvalidFault: the encoder does not have the layer.
    """
    if not options.auxiliary:
        return None
    if not -len(layer_channels) <= options.aux_layer < len(layer_channels):
        raise InvalidFault(
            f"aux_layer is {options.aux_layer}, but this encoder has {len(layer_channels)} layers.",
            next="segbench list",
        )
    channels, width = layer_channels[options.aux_layer], options.aux_channels
    return nn.Sequential(
        OrderedDict(
            conv=conv_norm_relu(channels, width, 3, norm=norm_of(options), bias=options.aux_bias),
            dropout=dropout(options.aux_dropout, of=dropout_of),
            classifier=nn.Conv2d(width, num_classes, 1),
        )
    )
