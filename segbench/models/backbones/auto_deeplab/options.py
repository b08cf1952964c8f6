"""Options of the network that Auto-DeepLab found. The defaults are the L of its Table 2; S and M have 20 and 32
filters.

Its normalisation keeps 0.9997 of the running statistics, which is a momentum of 3e-4 here. The probability of dropping
is 0 by default in the released code; the paper trains with scheduled drop path and does not state it.
"""

from itertools import pairwise
from typing import Annotated, Self

from pydantic import Field, model_validator

from segbench.core.spec import Options as BaseOptions
from segbench.core.spec import setting

Level = Annotated[int, Field(ge=0, le=3)]

_SIZES = {20: "S", 32: "M", 48: "L"}


class Options(BaseOptions):
    SMALL = {"filters": 8, "stem_channels": 32, "drop_path": 0.0}
    SMOKE = {"filters": 4, "stem_channels": 16, "path": [0, 1, 2, 3, 2, 1], "drop_path": 0.0}

    filters: int = setting(48, gt=0, description="channels of a cell's states at stride 4; then 2, 4, 8 times as many")
    path: tuple[Level, ...] = setting(
        (0, 0, 0, 1, 2, 1, 2, 2, 3, 3, 2, 1), min_length=1, description="level of each cell; its stride is 4 * 2^level"
    )
    stem_channels: int = setting(64, gt=0, description="of the first two convolutions; the third has twice as many")
    drop_path: float = setting(
        0.0, ge=0, lt=1, description="probability of dropping a path of the last cell at the end of the training"
    )
    bn_eps: float = setting(1e-3, gt=0)
    bn_momentum: float = setting(3e-4, gt=0, le=1)

    @model_validator(mode="after")
    def _goes_by_steps(self) -> Self:
        if self.path[0] != 0 or any(abs(after - before) > 1 for before, after in pairwise(self.path)):
            raise ValueError(f"path {self.path} must begin at level 0 and go up or down by one level at most")
        return self

    def label(self) -> str:
        """Return ``Auto-DeepLab-L``; a network of other filters or of another path is labelled small."""
        shape = self.model_dump(include={"path", "stem_channels"})
        known = shape == Options().model_dump(include=set(shape))
        return f"Auto-DeepLab-{_SIZES[self.filters]}" if known and self.filters in _SIZES else "Auto-DeepLab-small"
