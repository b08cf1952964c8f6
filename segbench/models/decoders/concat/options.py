"""Options of the concatenating decoder.

The defaults are the head of Pissas et al. (official code, commit c511fbcd): 3x3 convolution with bias, batch
norm, no ReLU, 1x1 classifier without bias. ContrastiveSeg's head adds ``relu: true, dropout: 0.1``; the official
HRNet head is ``head: conv1x1``, and mmsegmentation's the same with ``conv_bias: false``.
"""

from typing import Literal

from segbench.core.spec import Options as BaseOptions
from segbench.core.spec import setting


class Options(BaseOptions):
    SMALL = {"head": "conv1x1"}
    SMOKE = {"head": "conv1x1"}

    head: Literal["conv3x3", "conv1x1"] = "conv3x3"
    relu: bool | None = setting(None, description="after the batch norm; None: conv1x1 has it, conv3x3 has not")
    dropout: float = setting(0.0, ge=0, lt=1, description="probability of dropping a channel of the embedding")
    conv_bias: bool = setting(True, description="whether the first convolution has a bias")
    classifier_bias: bool | None = setting(None, description="None: conv1x1 has it, conv3x3 has not")
    bn_momentum: float = setting(0.1, gt=0, le=1)
    init_std: float | None = setting(None, gt=0, description="weights start at N(0, this); None: as PyTorch's do")

    def label(self) -> str:
        """Return ``concat``, with the kernel if it is not the default."""
        return "concat" if self.head == "conv3x3" else "concat, 1x1 head"
