"""Facts of ADE20K (SceneParse150); unverified statements are marked."""

from pydantic import Field

from segbench.core.spec import Size
from segbench.data.facts import Archive, DatasetOptions

_SITE = "http://data.csail.mit.edu/places/ADEchallenge"


class Options(DatasetOptions):
    """ADE20K (SceneParse150).

    Counts are those of CSAILVision's lists; several public repositories publish the same digests.
    """

    title: str = "ADE20K (SceneParse150)"
    table: str = "ade20k"
    splits: dict[str, tuple[int, ...]] = Field(default={"train": (20210,), "val": (2000,), "test": (3352,)})
    optional: tuple[str, ...] = ("test",)
    secret: tuple[str, ...] = ("test",)
    native_size: Size | None = None
    size_bytes: int = 920_000_000
    licence: str = (
        "Images for non-commercial research and education; annotations under BSD-3-Clause "
        "(unverified; read the terms at sceneparsing.csail.mit.edu)."
    )
    obtain: str = "No login: ADEChallengeData2016.zip (about 0.92 GB, unverified) from data.csail.mit.edu."
    archives: tuple[Archive, ...] = (
        Archive(
            name="ADEChallengeData2016.zip",
            urls=(f"{_SITE}/ADEChallengeData2016.zip",),
            members=(
                r"ADEChallengeData2016/(images/(?:training|validation)/[^/]+\.jpg"
                r"|annotations/(?:training|validation)/[^/]+\.png|objectInfo150\.txt|sceneCategories\.txt)"
            ),
            checksums={"md5": "7328b3957e407ddae1d3cbf487f149ef", "sha1": "219e1696abb36c8ba3a3afe7fb2f4b4606a897c7"},
            splits=("train", "val"),
        ),
        Archive(
            name="release_test.zip",
            urls=(f"{_SITE}/release_test.zip",),
            members=r"(release_test/testing/[^/]+\.jpg)",
            checksums={"sha1": "e05747892219d10e9243933371a497e905a4860c"},
            splits=("test",),
        ),
    )
    notes: tuple[str, ...] = (
        "Value 0 of a label file is other or unlabelled (7.25 % of the pixels) and ignored; 1..150 are the classes.",
        "Papers report val. The server for test is closed or unstable, and that test has 3352 images is from memory.",
        "Sizes differ widely: short sides from 96 (train) or 172 (val) pixels up, the largest image 2100x2100.",
        "This is not the full ADE20K, nor the instance challenge of 2017 (annotations_instance): both are refused.",
    )
