"""Options of PSPNet's decoder.

The defaults are the author's PyTorch code (hszhao/semseg, commit 4f274c3) without its auxiliary classifier, which
``auxiliary: true, aux_dropout: 0.1`` adds and ``lr_factor: 10`` trains; mmsegmentation's head is the same.
"""

from typing import Annotated

from pydantic import Field

from segbench.core.spec import setting
from segbench.models.decoders.settings import AuxiliaryOptions

Bins = Annotated[int, Field(ge=1)]


class Options(AuxiliaryOptions):
    SMALL = {"channels": 64, "lr_factor": 1}
    SMOKE = {"channels": 32, "lr_factor": 1}

    bins: tuple[Bins, ...] = setting((1, 2, 3, 6), min_length=1, description="bins a side of each pooled grid")
    channels: int = setting(512, gt=0, description="channels of each grid and of the convolution after them")
    dropout: float = setting(0.1, ge=0, lt=1, description="probability of dropping a channel before the classifier")
    lr_factor: float = setting(1.0, gt=0, description="learning rate of the decoder over that of the backbone")

    def label(self) -> str:
        """Return ``PSPNet``, with the bins if they are not the paper's."""
        usual = self.bins == (1, 2, 3, 6)
        return "PSPNet" if usual else f"PSPNet, bins {'-'.join(map(str, self.bins))}"
