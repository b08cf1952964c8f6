"""Options of the OCR decoder.

The defaults are ContrastiveSeg's and openseg's network on HRNet. Others differ from it:

- theirs on D-ResNet-101: ``aux_features: stage3, aux_channels: 512, aux_dropout: 0.05``.
- official HRNet: ``aux_head: conv1x1, attention_bias: false``.
- mmsegmentation on HRNet: ``aux_head: conv1x1, conv_bias: false, attention_bias: false, dropout: 0.0``; on ResNet:
  ``aux_features: stage3, aux_channels: 256, conv_bias: false, attention_bias: false, dropout: 0.1, aux_dropout: 0.1``.
"""

from typing import Literal

from segbench.core.spec import setting
from segbench.models.decoders.settings import NormOptions


class Options(NormOptions):
    SMALL = {"channels": 64, "key_channels": 32, "aux_head": "conv1x1", "aux_channels": 64}
    SMOKE = {"channels": 32, "key_channels": 16, "aux_head": "conv1x1", "aux_channels": 32}

    channels: int = setting(512, gt=0, description="channels of the pixels and after their fusion with the context")
    key_channels: int = setting(256, gt=0, description="channels of queries, keys and values")
    dropout: float = setting(0.05, ge=0, lt=1, description="probability of dropping a channel before the classifier")
    aux_features: Literal["concat", "stage3"] = setting(
        "concat",
        description="concat: both heads read all layers at the finest size (HRNet); stage3: the head of the soft "
        "regions reads the last but one layer, the other the last (dilated ResNet)",
    )
    aux_head: Literal["conv3x3", "conv1x1"] = setting("conv3x3", description="first layer of the soft regions' head")
    aux_channels: int | None = setting(None, gt=0, description="its channels; None: as many as it reads")
    aux_dropout: float = setting(0.0, ge=0, lt=1, description="probability of dropping a channel after it")
    conv_bias: bool = setting(True, description="whether that layer and the pixels' 3x3 convolution have a bias")
    attention_bias: bool = setting(True, description="whether the attention's and the fusion's convolutions have one")

    def label(self) -> str:
        """Return ``OCR``, with the kernel of the soft regions' head if it is not the default."""
        return "OCR" if self.aux_head == "conv3x3" else "OCR, 1x1 head"
