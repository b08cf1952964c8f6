"""Options of UPerNet's decoder.

The defaults are those of Swin's segmentation code and mmsegmentation, with the auxiliary classifier on the last but one
layer. The code of Pissas et al. has it on the last: ``aux_layer: -1``.
"""

from typing import Annotated, Literal

from pydantic import Field

from segbench.core.spec import setting
from segbench.models.decoders.settings import AuxiliaryOptions

Bins = Annotated[int, Field(ge=1)]


class Options(AuxiliaryOptions):
    SMALL = {"channels": 64, "aux_channels": 48}
    SMOKE = {"channels": 32, "aux_channels": 32}

    channels: int = setting(512, gt=0, description="channels of each level of the pyramid and of their fusion")
    bins: tuple[Bins, ...] = setting((1, 2, 3, 6), min_length=1, description="bins a side of each pooled grid")
    dropout: float = setting(0.1, ge=0, lt=1, description="probability of dropping a channel before the classifier")
    auxiliary: bool = setting(True, description="whether there is an auxiliary classifier, in training only")
    aux_dropout: float = setting(0.1, ge=0, lt=1, description="probability of dropping a channel before its classifier")
    contrast_layers: Literal["backbone", "fpn"] = setting(
        "backbone", description="which maps a method sees as layers: the backbone's, or the pyramid's levels"
    )

    def label(self) -> str:
        """Return ``UPerNet``, with the bins if they are not the paper's."""
        usual = self.bins == (1, 2, 3, 6)
        return "UPerNet" if usual else f"UPerNet, bins {'-'.join(map(str, self.bins))}"
