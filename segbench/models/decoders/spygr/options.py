"""Options of SpyGR's decoder.

No official code was found (arXiv 2003.10211). The defaults are recalled of the paper, not re-read; an unofficial code,
which cannot train, has ``levels: 3, basis_kernel: 3``. Its auxiliary classifier and ``bn_momentum: 3e-4`` are inferred
from the first author's EMANet and the usual protocol of its years.
"""

from typing import Literal

from segbench.core.spec import setting
from segbench.models.decoders.settings import AuxiliaryOptions


class Options(AuxiliaryOptions):
    SMALL = {"channels": 64, "basis": 16, "aux_channels": 48}
    SMOKE = {"channels": 32, "basis": 8, "aux_channels": 32}

    channels: int = setting(512, gt=0, description="channels of the map that is reasoned on, at every level")
    basis: int = setting(64, gt=0, description="channels that the similarity of two pixels is taken in (M)")
    basis_kernel: Literal[1, 3] = setting(1, description="kernel of the convolution that gives them")
    levels: int = setting(4, ge=1, description="levels of the pyramid, each half as large as the one before")
    dropout: float = setting(0.1, ge=0, lt=1, description="probability of dropping a channel before the classifier")

    def label(self) -> str:
        """Return ``SpyGR``, with the levels if they are not 4."""
        return "SpyGR" if self.levels == 4 else f"SpyGR, {self.levels} levels"
