"""Facts of PASCAL VOC 2012; what is only remembered is marked so."""

from pydantic import Field

from segbench.core.spec import Size
from segbench.data.facts import DatasetOptions


class Options(DatasetOptions):
    """PASCAL VOC 2012."""

    title: str = "PASCAL VOC 2012"
    table: str = "voc2012"
    splits: dict[str, tuple[int, ...]] = Field(
        default={"train": (1464,), "val": (1449,), "test": (1456,), "trainaug": (10582,)}
    )
    native_size: Size | None = None
    size_bytes: int = 3_400_000_000
    licence: str = (
        "Flickr terms for the images; cite Everingham et al., IJCV 2010, and for SBD Hariharan et al., ICCV 2011."
    )
    obtain: str = (
        "VOCtrainval_11-May-2012.tar (2.0 GB) and, for trainaug, SBD benchmark.tgz (about 1.4 GB); "
        "test labels are secret."
    )
