"""Facts of GTA5 (Playing for Data); unverified statements are marked."""

from pydantic import Field

from segbench.core.spec import Size
from segbench.data.facts import Archive, DatasetOptions

_SITE = "https://download.visinf.tu-darmstadt.de/data/from_games"
_ARCHIVES = range(1, 11)


def _archive(number: int, kind: str) -> Archive:
    name = f"{number:02d}_{kind}.zip"
    return Archive(name=name, urls=(f"{_SITE}/data/{name}",), members=rf"(?:[^/]+/)?({kind}/\d{{5}}\.png)")


class Options(DatasetOptions):
    """GTA5 (Playing for Data).

    Counts: all frames, and those of the official split file. No digest is published.
    """

    title: str = "GTA5 (Playing for Data)"
    table: str = "gta5"
    splits: dict[str, tuple[int, ...]] = Field(
        default={"trainvaltest": (24966,), "train": (12403,), "val": (6382,), "test": (6181,)}
    )
    optional: tuple[str, ...] = ("train", "val", "test")
    native_size: Size | None = None  # most are 1052x1914
    size_bytes: int = 57_000_000_000
    licence: str = (
        "Research and education, non-commercial (unverified; read the terms); cite Richter et al., ECCV 2016."
    )
    obtain: str = "No login: 20 archives (about 57 GB, unverified) of download.visinf.tu-darmstadt.de/data/from_games."
    archives: tuple[Archive, ...] = (
        *(_archive(number, kind) for number in _ARCHIVES for kind in ("images", "labels")),
        Archive(
            name="read_mapping.zip",
            urls=(f"{_SITE}/code/read_mapping.zip",),
            members=r"(?:[^/]+/)*(split\.mat)",  # that name is from memory
            splits=("train", "val", "test"),
        ),
    )
    notes: tuple[str, ...] = (
        "All 24,966 frames are the split trainvaltest; train, val and test are the official parts of it and need "
        "split.mat of read_mapping.zip.",
        "Most frames are 1052x1914, some differ. A label whose size is not its image's is of no use: it is read as "
        "ignored everywhere, and examination lists such pairs.",
        "15 frames of train show a single colour (12160, 12166, 12167, 12191-12193, 12195, 12202-12208, 19993); lists "
        "of 12,388 leave them out.",
        "Licence plates (index 34, from memory) are ignored; code that goes by colours takes them for cars.",
    )
