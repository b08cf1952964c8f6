"""Facts of COCO-Stuff 10k; what is only remembered is marked so."""

from pydantic import Field

from segbench.core.spec import Size
from segbench.data.facts import DatasetOptions


class Options(DatasetOptions):
    """COCO-Stuff 10k."""

    title: str = "COCO-Stuff 10k"
    table: str = "coco-stuff-10k"
    splits: dict[str, tuple[int, ...]] = Field(default={"train": (9000,), "test": (1000,)})
    native_size: Size | None = None
    size_bytes: int = 2_000_000_000
    licence: str = "Annotations CC BY 4.0, images under Flickr terms; cite Caesar et al., CVPR 2018."
    obtain: str = "No login: cocostuff-10k-v1.1.zip (2.0 GB) from calvin.inf.ed.ac.uk."
