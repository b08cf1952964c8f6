"""Facts of GTA5 (Playing for Data); what is only remembered is marked so."""

from pydantic import Field

from segbench.core.spec import Size
from segbench.data.facts import DatasetOptions


class Options(DatasetOptions):
    """GTA5 (Playing for Data)."""

    title: str = "GTA5 (Playing for Data)"
    table: str = "gta5"
    splits: dict[str, tuple[int, ...]] = Field(default={"train": (24966, 12403)})
    native_size: Size | None = (1052, 1914)
    size_bytes: int = 57_000_000_000
    licence: str = (
        "Research and education, non-commercial (from memory, read the terms); cite Richter et al., ECCV 2016."
    )
    obtain: str = "No login: 20 archives (about 57 GB) from download.visinf.tu-darmstadt.de/data/from_games."
