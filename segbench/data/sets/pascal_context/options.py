"""Facts of PASCAL-Context; what is only remembered is marked so."""

from pydantic import Field

from segbench.core.spec import Size
from segbench.data.facts import DatasetOptions


class Options(DatasetOptions):
    """PASCAL-Context."""

    title: str = "PASCAL-Context"
    table: str = "pascal-context"
    variants: tuple[str, ...] = ("pascal-context-60",)
    splits: dict[str, tuple[int, ...]] = Field(default={"train": (4996, 4998), "val": (5104, 5105)})
    native_size: Size | None = None
    size_bytes: int = 1_400_000_000
    licence: str = "Flickr terms for the images; cite Mottaghi et al., CVPR 2014."
    obtain: str = "No login: VOCtrainval_03-May-2010.tar (about 1.3 GB) and trainval_merged.json."
