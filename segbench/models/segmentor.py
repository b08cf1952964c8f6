"""A segmentation network of a backbone and a decoder, and their base classes."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor, nn

from segbench.core import registry
from segbench.core.errors import InvalidFault
from segbench.core.spec import Choice, ModelSpec, Options, Size


class Decoded(NamedTuple):
    """Output of a decoder.

    Attributes:
        logits: (N, C, h, w) at its own stride; or votes, if the decoder returns these: 0 in training.
        embedding: input of its last 1x1 classifier, (N, K, h, w).
        aux: logits of auxiliary classifiers by name; empty if there are none.
        layers: its own, if it has `Decoder.layer_channels`.
        joined: all layers concatenated, as in `SegmentorOutput`, if it needs them itself.
    """

    logits: Tensor
    embedding: Tensor
    aux: dict[str, Tensor]
    layers: tuple[Tensor, ...] | None = None
    joined: Tensor | None = None


class SegmentorOutput(NamedTuple):
    """Output of a forward pass.

    Attributes:
        logits: (N, C, h, w) at the decoder's own stride; or votes, if the decoder returns these: 0 in training.
        layers: encoder layers, or those that the decoder returns in their place; finest first.
        embedding: input of the last 1x1 classifier, (N, K, h, w).
        aux: logits of auxiliary classifiers by name; empty if there are none.
        joined: in training, if the decoder needs it: all layers at the size of the finest, concatenated,
            (N, sum of c_i, h_1, w_1); it need not be computed again.
    """

    logits: Tensor
    layers: tuple[Tensor, ...]
    embedding: Tensor
    aux: dict[str, Tensor]
    joined: Tensor | None = None


class Backbone(nn.Module):
    """Base of every backbone: ``forward(images)`` returns the layers, finest first."""

    layer_channels: tuple[int, ...]
    layer_strides: tuple[int, ...]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Encode (N, 3, H, W) images."""
        raise NotImplementedError


class Decoder(nn.Module):
    """Base of every decoder.

    Attributes:
        embedding_channels: channels of the embedding it returns.
        lr_factor: learning rate of its parameters over that of the backbone.
        layer_channels: channels of layers that it returns in place of the backbone's, one for each of them at its
            stride; None if it does not.
        wants_rows: its ``forward`` takes the positions of the images' rows, as that of `RowDecoder`.
        votes: its logits are votes on classes, without a gradient and in evaluation only.
        weight_decays: weight decay of parameters by prefixes of their names, if it is not the schedule's.
    """

    embedding_channels: int
    lr_factor: float = 1.0
    layer_channels: tuple[int, ...] | None = None
    wants_rows: bool = False
    votes: bool = False
    weight_decays: Mapping[str, float] = MappingProxyType({})

    def forward(self, layers: tuple[Tensor, ...], size: Size) -> Decoded:
        """Decode layers of images of ``size``."""
        raise NotImplementedError


class RowDecoder(Decoder):
    """Base of a decoder that depends on a pixel's height in the picture."""

    wants_rows = True

    def forward(self, layers: tuple[Tensor, ...], size: Size, rows: Tensor | None = None) -> Decoded:
        """Decode layers of images of ``size``.

        Args:
            layers: as for every decoder.
            size: likewise.
            rows: (N, H) float32, position of each row of the images in its picture, in [0, 1), 1 in the padding; None
                for images that are whole pictures.
        """
        raise NotImplementedError


class Segmentor(nn.Module):
    """Backbone and decoder as one network.

    Attributes:
        num_classes: number of output channels C.
        align_corners: of every bilinear resize inside the network and of its logits.
        layer_channels: channels of each of the output's layers, finest first.
        layer_strides: their strides.
        embedding_channels: channels K of the classifier's input.
        wants_rows: its decoder depends on the positions of the rows.
        votes: its logits are votes, which are shares already and need no softmax.
    """

    layer_channels: tuple[int, ...]
    layer_strides: tuple[int, ...]
    embedding_channels: int
    wants_rows: bool = False
    votes: bool = False

    def __init__(self, backbone: Backbone, decoder: Decoder, *, num_classes: int, align_corners: bool) -> None:
        super().__init__()
        self.backbone = backbone
        self.decoder = decoder
        self.num_classes = num_classes
        self.align_corners = align_corners
        self.layer_channels = tuple(decoder.layer_channels or backbone.layer_channels)
        self.layer_strides = tuple(backbone.layer_strides)
        self.embedding_channels = decoder.embedding_channels
        self.wants_rows, self.votes = decoder.wants_rows, decoder.votes

    def forward(self, images: Tensor, rows: Tensor | None = None) -> SegmentorOutput:
        """Segment normalised images.

        Args:
            images: (N, 3, H, W) float, any H, W >= 32.
            rows: (N, H) positions of the rows in their pictures, for a decoder that uses them; None for whole pictures.

        Raises:
            InvalidFault: the decoder's logits do not have a channel a class.
        """
        layers = self.backbone(images)
        size = (images.shape[-2], images.shape[-1])
        decoded = self.decoder(layers, size, rows) if self.wants_rows else self.decoder(layers, size)
        if decoded.logits.shape[1] != self.num_classes:
            fault = f"{_name(self.decoder)} returns {decoded.logits.shape[1]} channels for {self.num_classes} classes."
            raise InvalidFault(fault, next="segbench list")
        own = layers if decoded.layers is None else decoded.layers
        return SegmentorOutput(decoded.logits, own, decoded.embedding, decoded.aux, decoded.joined)

    def resize(self, logits: Tensor, size: Size) -> Tensor:
        """Resize (N, C, h, w) logits bilinearly to ``size`` in float32 (float64 stays), corners as in the network."""
        logits = logits if logits.dtype == torch.float64 else logits.float()
        if logits.shape[-2:] == tuple(size):
            return logits
        return F.interpolate(logits, size=size, mode="bilinear", align_corners=self.align_corners)


def build_segmentor(spec: ModelSpec, *, num_classes: int) -> Segmentor:
    """Build a randomly initialised network; draws come from torch's global generator.

    Under ``torch.device("meta")`` nothing is allocated, which is what cost counting uses.

    Raises:
        UsageFault: backbone or decoder is not registered.
        InvalidFault: an option does not exist or has an impossible value.
    """
    backbone_options = _options("backbone", spec.backbone)
    decoder_options = _options("decoder", spec.decoder)
    backbone = registry.member("backbone", spec.backbone.name, "build", module="network")(
        backbone_options, align_corners=spec.align_corners
    )
    decoder = registry.member("decoder", spec.decoder.name, "build", module="network")(
        decoder_options, backbone=backbone, num_classes=num_classes, align_corners=spec.align_corners
    )
    return Segmentor(backbone, decoder, num_classes=num_classes, align_corners=spec.align_corners)


def _name(module: nn.Module) -> str:
    return f"{type(module).__module__}.{type(module).__qualname__}"


def _options(kind: str, choice: Choice) -> Options:
    try:
        return registry.chosen(kind, choice)
    except ValidationError as error:
        faults = [
            f"Option {'.'.join(map(str, fault['loc']))!r} of {kind} {choice.name!r}: {fault['msg']}."
            for fault in error.errors()
        ]
        raise InvalidFault(*faults, next="segbench list") from error
