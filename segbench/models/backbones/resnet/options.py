"""Options of a ResNet. The defaults are torchvision's ResNet-101, without dilation.

Which code wants what: the ResNets of ContrastiveSeg and OpenSeg have ``stem: deep, ceil_mode: true``, mmsegmentation's
V1c has ``stem: deep-narrow``, torchvision's neither, all ``dilation: contracted``; those of PSPNet, HANet and
SemiSeg-Contrastive have ``dilation: full``. SemiSeg-Contrastive has ``frozen_norm: true`` throughout, and with COCO
weights ``ceil_mode: true, stride_in: conv1``. AAF and SegSort, on TF-Slim's v1 network, have ``stride_at: last``.
"""

from typing import Annotated, Literal

from pydantic import Field

from segbench.core.spec import Options as BaseOptions
from segbench.core.spec import setting

Count = Annotated[int, Field(ge=1)]
Blocks = tuple[Count, Count, Count, Count]

_BLOCKS: dict[int, Blocks] = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}


class Options(BaseOptions):
    SMALL = {"width": 0.25, "blocks": [1, 1, 2, 1]}
    SMOKE = {"width": 0.125, "blocks": [1, 1, 1, 1]}

    depth: Literal[50, 101] = 101
    stem: Literal["conv7x7", "deep", "deep-narrow"] = setting(
        "conv7x7", description="one 7x7 convolution, or three 3x3 ones of 64, 64, 128 (deep) or 32, 32, 64 channels"
    )
    output_stride: Literal[8, 16, 32] = setting(32, description="stages beyond it are dilated instead")
    dilation: Literal["contracted", "full"] = setting(
        "contracted", description="the first block of a dilated stage has the dilation of the stage before, or its own"
    )
    ceil_mode: bool = setting(False, description="whether the stem's pooling rounds sizes up and pads for that")
    stride_in: Literal["conv1", "conv2"] = setting("conv2", description="which convolution of a block has its stride")
    stride_at: Literal["first", "last"] = setting(
        "first", description="a stage shrinks the image in its first block, or the stage before it does in its last"
    )
    frozen_norm: bool = setting(
        False, description="scale and shift of the normalisation are not trained; its statistics still follow"
    )
    bn_eps: float = setting(1e-5, gt=0)
    bn_momentum: float = setting(0.1, gt=0, le=1)
    width: float = setting(1.0, ge=0.0625, le=4, description="multiplies the channels, but not those of a 7x7 stem")
    blocks: Blocks | None = setting(None, description="blocks of the four stages; None: as the depth says")

    def blocks_of_stages(self) -> Blocks:
        """Return the number of bottleneck blocks of each stage."""
        return _BLOCKS[self.depth] if self.blocks is None else self.blocks

    def label(self) -> str:
        """Return ``D-ResNet-101``, D for dilated; a network of another width or depth is labelled small."""
        depth = 3 * sum(self.blocks_of_stages()) + 2  # convolutions in a row, and the classifier that is gone
        small = self.width != 1 or self.blocks_of_stages() not in _BLOCKS.values()
        return f"{'D-' if self.output_stride < 32 else ''}ResNet-{depth}" + ("-small" if small else "")
