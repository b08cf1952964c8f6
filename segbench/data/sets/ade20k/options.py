"""Facts of ADE20K (SceneParse150); what is only remembered is marked so."""

from pydantic import Field

from segbench.core.spec import Size
from segbench.data.facts import DatasetOptions


class Options(DatasetOptions):
    """ADE20K (SceneParse150)."""

    title: str = "ADE20K (SceneParse150)"
    table: str = "ade20k"
    splits: dict[str, tuple[int, ...]] = Field(default={"train": (20210,), "val": (2000,), "test": (3352,)})
    native_size: Size | None = None
    size_bytes: int = 920_000_000
    licence: str = (
        "Images for non-commercial research and education; annotations under BSD-3-Clause "
        "(from memory, read the terms)."
    )
    obtain: str = "No login: ADEChallengeData2016.zip (about 0.92 GB) from data.csail.mit.edu."
