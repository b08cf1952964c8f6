"""Options of a Swin Transformer. The defaults are Swin-T as UPerNet trains it.

Sizes are those of Liu et al. 2021 (arXiv 2103.14030, section 3.3).
"""

from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from segbench.core.spec import Options as BaseOptions
from segbench.core.spec import setting

Count = Annotated[int, Field(ge=1)]
Stages = tuple[Count, Count, Count, Count]


class Shape(NamedTuple):
    """Channels of the first stage, blocks and attention heads of each stage."""

    embed: int
    depths: Stages
    heads: Stages


_SHAPES = {
    "tiny": Shape(96, (2, 2, 6, 2), (3, 6, 12, 24)),
    "small": Shape(96, (2, 2, 18, 2), (3, 6, 12, 24)),
    "base": Shape(128, (2, 2, 18, 2), (4, 8, 16, 32)),
}
_LARGE = Shape(192, (2, 2, 18, 2), (6, 12, 24, 48))  # of checkpoints; no size that recipes name


class Options(BaseOptions):
    SMALL = {"embed": 24, "depths": [2, 2, 2, 2], "heads": [1, 2, 4, 8], "drop_path": 0.0}
    SMOKE = {"embed": 12, "depths": [2, 2, 2, 2], "heads": [1, 2, 4, 8], "drop_path": 0.0}

    size: Literal["tiny", "small", "base"] = "tiny"
    embed: int | None = setting(
        None, gt=0, description="channels of the first stage, then 2, 4, 8 times as many; None: as the size says"
    )
    depths: Stages | None = setting(None, description="blocks of each stage; None: as the size says")
    heads: Stages | None = setting(None, description="attention heads of each stage; None: as the size says")
    window: int = setting(7, ge=2, description="side of the windows, in tokens")
    drop_path: float = setting(
        0.3, ge=0, lt=1, description="probability of skipping the last block's branches; linear from 0 at the first"
    )

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        embed, _, heads = self.shape()
        for stage, number in enumerate(heads):
            if embed * 2**stage % number:
                raise ValueError(f"{embed * 2**stage} channels of stage {stage + 1} do not divide among {number} heads")
        return self

    def shape(self) -> Shape:
        """Return the shape of the size, with the options that override it."""
        usual = _SHAPES[self.size]
        return Shape(self.embed or usual.embed, self.depths or usual.depths, self.heads or usual.heads)

    def label(self) -> str:
        """Return ``Swin-T``, with windows other than 7x7; a network of no published shape is labelled small."""
        letters = {shape: size[0].upper() for size, shape in _SHAPES.items()} | {_LARGE: "L"}
        if self.shape() not in letters:
            return f"Swin-{self.size[0].upper()}-small"
        windows = "" if self.window == 7 else f", windows of {self.window}x{self.window}"
        return f"Swin-{letters[self.shape()]}{windows}"
