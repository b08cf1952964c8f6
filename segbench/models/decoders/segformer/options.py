"""Options of SegFormer's decoder. The defaults are the head of MiT-B0 and B1 in the authors' code.

- ``nv``: the authors' code, and Hugging Face's port of it; ``channels: 768`` for MiT-B2 to B5.
- ``mmseg``: mmsegmentation's, with batch norm and ReLU after each projection and the layers in the other order.
- ``cfn``: that of CFN's public code (model/segformer.py): ReLU before the batch norm, no dropout, and resizing with
  corners aligned whatever the network does elsewhere.
"""

from typing import Literal

from segbench.core.spec import setting
from segbench.models.decoders.settings import NormOptions


class Options(NormOptions):
    SMALL = {"channels": 64}
    SMOKE = {"channels": 32}

    variant: Literal["nv", "mmseg", "cfn"] = setting("nv", description="whose head")
    channels: int = setting(256, gt=0, description="channels of each projected layer and of their fusion")
    dropout: float | None = setting(
        None, ge=0, lt=1, description="probability of dropping a channel before the classifier; None: 0.1, of cfn 0"
    )

    def label(self) -> str:
        """Return ``SegFormer``, with the variant if it is not the authors'."""
        return "SegFormer" if self.variant == "nv" else f"SegFormer, {self.variant}"
