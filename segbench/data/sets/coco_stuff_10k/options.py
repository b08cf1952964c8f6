"""Facts of COCO-Stuff 10k, version 1.1; unverified statements are marked."""

from pydantic import Field

from segbench.core.spec import Size
from segbench.data.facts import Archive, DatasetOptions

_PLACE = "calvin.inf.ed.ac.uk/wp-content/uploads/data/cocostuffdataset/cocostuff-10k-v1.1.zip"


class Options(DatasetOptions):
    """COCO-Stuff 10k, version 1.1. Counts are those of the authors' lists; no digest of the archive is published."""

    title: str = "COCO-Stuff 10k"
    table: str = "coco-stuff-10k"
    splits: dict[str, tuple[int, ...]] = Field(default={"train": (9000,), "test": (1000,)})
    reported: str = "test"
    native_size: Size | None = None
    size_bytes: int = 2_000_000_000
    licence: str = "Annotations CC BY 4.0, images under Flickr terms; cite Caesar et al., CVPR 2018."
    obtain: str = "No login: cocostuff-10k-v1.1.zip (2.0 GB) from calvin.inf.ed.ac.uk, which some networks block."
    archives: tuple[Archive, ...] = (
        Archive(
            name="cocostuff-10k-v1.1.zip",
            urls=(f"https://{_PLACE}", f"http://{_PLACE}"),
            # Only some copies of the archive have a top folder; it is dropped.
            members=(
                r"(?:cocostuff-10k-v1\.1/)?(images/[^/]+\.jpg|annotations/[^/]+\.mat|images?Lists/(?:train|test|all)\.txt)"
            ),
        ),
    )
    notes: tuple[str, ...] = (
        "Value 0 is unlabelled and ignored; of the ids 1..182 eleven never occur, which leaves 80 things and 91 stuff.",
        "All images are from COCO train2014: a backbone trained on COCO has seen the test images (an inference).",
        "Version 1.0 numbers its classes otherwise, models with 182 outputs and the set of 164k images are others: "
        "they are refused.",
    )
