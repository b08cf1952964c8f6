"""Options of SegSort's training; those of clustering and retrieval belong to its network.

Sources: grids: the author's answer to a user of the released code for Cityscapes; the others: defaults of the released
code, inferred to be those of Cityscapes.
"""

from typing import Annotated, ClassVar

from pydantic import Field

from segbench.core.spec import Options as BaseOptions
from segbench.core.spec import setting

Side = Annotated[int, Field(ge=1)]


class Options(BaseOptions):
    """Contrast of pixels with segments, at the resolution of the embedding."""

    SMALL = {"cluster_grid": [5, 5], "bank_grid": [8, 8], "bank_images": 100}
    SMOKE = {"cluster_grid": [4, 4], "bank_grid": [8, 8]}

    across_images: ClassVar[tuple[str, ...]] = ("segments",)

    concentration: float = setting(10.0, gt=0, description="kappa, the inverse of a temperature")
    cluster_grid: tuple[Side, Side] = setting(
        (8, 8), description="rows and columns of the grid on the whole picture that k-means starts from in training"
    )
    memory_batches: int = setting(2, ge=0, description="last batches whose prototypes take part as constants")
    bank_grid: tuple[Side, Side] = setting(
        (16, 16), description="rows and columns of the grid that k-means starts from in the training images"
    )
    bank_images: int | None = setting(
        None, gt=0, description="about so many of the training images, evenly spread, fill the bank; None: all"
    )
