"""Options of an HRNetV2. The defaults are HRNetV2-W48."""

from typing import Annotated, Literal

from pydantic import Field

from segbench.core.spec import Options as BaseOptions
from segbench.core.spec import setting

Count = Annotated[int, Field(ge=1)]
Stride = Annotated[int, Field(ge=1, le=2)]


class Options(BaseOptions):
    SMALL = {
        "width": 16,
        "modules": [1, 1, 1],
        "blocks_per_branch": 2,
        "stage1_blocks": 1,
        "stage1_width": 16,
        "stem_channels": 32,
        "stem_strides": [2, 2],
    }
    SMOKE = {
        "width": 8,
        "modules": [1, 1, 1],
        "blocks_per_branch": 1,
        "stage1_blocks": 1,
        "stage1_width": 16,
        "stem_channels": 16,
        "stem_strides": [2, 2],
    }

    width: int = setting(48, gt=0, description="channels of the finest branch; then 2, 4, 8 times as many")
    modules: tuple[Count, Count, Count] = setting((1, 4, 3), description="modules of stages 2, 3 and 4")
    blocks_per_branch: int = setting(4, ge=1, description="basic blocks of each branch of a module")
    stem_channels: int = setting(64, gt=0, description="channels of the two stem convolutions")
    stem_strides: tuple[Stride, Stride] = setting(
        (2, 2), description="their strides; the finest branch has the product"
    )
    stage1_blocks: int = setting(4, ge=1, description="bottleneck blocks of stage 1")
    stage1_width: int = setting(
        64, gt=0, description="inner channels of those blocks; their output has 4 times as many"
    )
    bn_momentum: float = setting(0.1, gt=0, le=1)
    fuse_resize: Literal["direct", "by_factor"] = setting(
        "direct",
        description="a coarse branch is brought to a finer one's size at once, or first enlarged by a power of two "
        "(mmsegmentation); the same where the image's sides are multiples of 32",
    )
    init_std: float | None = setting(
        None, gt=0, description="convolutions start at N(0, this); None: Kaiming-normal over the fan-out"
    )

    def label(self) -> str:
        """Return ``HRNetV2-W48``; a network of another depth is labelled small."""
        free = self.model_dump(include={"width", "bn_momentum", "fuse_resize", "init_std"})
        full = Options.model_validate(free)
        return f"HRNetV2-W{self.width}" + ("" if self == full else "-small")
