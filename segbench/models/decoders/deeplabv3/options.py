"""Options of DeepLabV3's decoder.

The defaults are the paper's head (arXiv 1706.05587, section 3.3) as Pissas et al. built it (models/DeepLabv3.py,
commit c511fbcd): 256 channels, 1x1 fusion, no dropout, no auxiliary classifier. Others differ from it:

- ContrastiveSeg: ``channels: 512, project_kernel: 3, refine: conv3x3, init: kaiming`` and, with D-ResNet-101,
  ``auxiliary: true, aux_bias: true``.
- mmsegmentation: ``channels: 512, project_kernel: 3, pooling_first: true, dropout: 0.1, auxiliary: true,
  aux_dropout: 0.1``.
- torchvision: ``dropout: 0.5, dropout_of: elements, refine: conv3x3_relu, auxiliary: true, aux_dropout: 0.1``.
"""

from typing import Annotated, Literal

from pydantic import Field

from segbench.core.spec import setting
from segbench.models.decoders.settings import AuxiliaryOptions, DropoutOf, Init

Rate = Annotated[int, Field(ge=1)]


class Options(AuxiliaryOptions):
    SMALL = {"channels": 48}
    SMOKE = {"channels": 32}

    rates: tuple[Rate, ...] = setting((12, 24, 36), description="dilations at output stride 8; half of them at 16")
    channels: int = setting(256, gt=0, description="channels of each branch and after it")
    project_kernel: Literal[1, 3] = setting(1, description="kernel of the convolution that fuses the branches")
    pooling_first: bool = setting(False, description="whether the image's mean is the first branch, not the last")
    refine: Literal["none", "conv3x3", "conv3x3_relu"] = setting(
        "none", description="3x3 convolution and batch norm, with or without ReLU, before the classifier"
    )
    dropout: float = setting(0.0, ge=0, lt=1, description="probability of dropping after the fusion")
    dropout_of: DropoutOf = "channels"
    init: Init = "torch"

    def label(self) -> str:
        """Return ``DeepLabV3``."""
        return "DeepLabV3"
