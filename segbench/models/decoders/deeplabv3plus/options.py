"""Options of DeepLabV3+'s decoder.

The defaults are SemiSeg-Contrastive's (released code, model/deeplabv3.py, commit dc53c6d), at output stride 16.
Others differ from it:

- TensorFlow's with Xception: ``separable: true, dropout: [0.1, 0.0], init: normal_classifier`` and
  ``image_pooling: false`` where the paper's table says so.
- mmsegmentation: ``rates: [12, 24, 36], channels: 512, separable: true, project_kernel: 3, pooling_first: true,
  dropout: [0.0, 0.1], dropout_of: channels, auxiliary: true, aux_dropout: 0.1``.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from segbench.core.spec import setting
from segbench.models.decoders.settings import AuxiliaryOptions, DropoutOf, Init

Rate = Annotated[int, Field(ge=1)]
Probability = Annotated[float, Field(ge=0, lt=1)]


class Options(AuxiliaryOptions):
    SMALL = {"channels": 48, "low_channels": 24}
    SMOKE = {"channels": 32, "low_channels": 16}

    rates: tuple[Rate, ...] = setting((6, 12, 18), description="dilations at output stride 16; twice them at 8")
    eval_rates: tuple[Rate, ...] | None = setting(
        None, description="dilations in evaluation, for an encoder that then has another stride; None: the same"
    )
    channels: int = setting(256, gt=0, description="channels of each branch and after it")
    low_channels: int = setting(48, gt=0, description="channels that the finest layer is reduced to")
    separable: bool = setting(False, description="whether 3x3 convolutions are depthwise separable")
    image_pooling: bool = setting(True, description="whether the image's mean is a branch")
    pooling_first: bool = setting(False, description="whether it is the first branch, not the last")
    project_kernel: Literal[1, 3] = setting(1, description="kernel of the convolution that fuses the branches")
    dropout: tuple[Probability, Probability] = setting(
        (0.5, 0.1), description="probabilities of dropping after the fusion and before the classifier"
    )
    dropout_of: DropoutOf = "elements"
    init: Init = "normal"

    @model_validator(mode="after")
    def _as_many_rates(self) -> Self:
        if self.eval_rates is not None and len(self.eval_rates) != len(self.rates):
            raise ValueError(f"eval_rates {self.eval_rates} must be as many as rates {self.rates}")
        return self

    def label(self) -> str:
        """Return ``DeepLabV3+``."""
        return "DeepLabV3+"
