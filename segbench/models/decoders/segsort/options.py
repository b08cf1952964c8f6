"""Options of SegSort's network.

Sources: the layers are those of AAF's released code, which SegSort builds on; number of rounds: the author's answer to
a user of the released code for Cityscapes; embedding and location: defaults of the released code, and what is enlarged:
its scripts for prototypes and for inference; the query's grid and the number of neighbours on Cityscapes are inferred.
"""

from typing import Annotated, Literal

from pydantic import Field

from segbench.core.spec import setting
from segbench.models.decoders.settings import NormOptions

Side = Annotated[int, Field(ge=1)]


class Options(NormOptions):
    SMALL = {"channels": 64, "lr_factor": 1, "query_grid": [5, 5], "cluster_rounds": 5, "neighbours": 5}
    SMOKE = {"channels": 32, "lr_factor": 1, "query_grid": [4, 4], "cluster_rounds": 5, "neighbours": 5}

    bins: tuple[Side, ...] = setting((1, 2, 3, 6), min_length=1, description="bins a side of each pooled grid")
    channels: int = setting(512, gt=0, description="channels of each grid and of the convolution after them")
    dropout: float = setting(0.0, ge=0, lt=1, description="probability of dropping a channel before the embedding")
    embedding_dim: int = setting(32, gt=0, description="channels of the embedding")
    lr_factor: float = setting(1.0, gt=0, description="learning rate of the decoder over that of the backbone")
    cluster_rounds: int = setting(15, ge=1, description="rounds of k-means, wherever pixels are clustered")
    location_scale: float = setting(
        1.0, ge=0, description="factor of row/H and column/W, which join the embedding in clustering"
    )
    query_grid: tuple[Side, Side] = setting(
        (8, 8), description="rows and columns of the grid that k-means starts from in what is to be segmented"
    )
    enlarged: Literal["votes", "embedding"] = setting(
        "votes",
        description="what is brought to the image's size: votes of segments of the small map; or the embedding before "
        "its length becomes 1, so that the image's own pixels are clustered, as the released code has it",
    )
    neighbours: int = setting(15, ge=1, description="prototypes of the bank that vote on a segment")

    def label(self) -> str:
        """Return ``SegSort``."""
        return "SegSort"
