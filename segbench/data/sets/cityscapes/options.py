"""Facts of Cityscapes with its fine annotations."""

from pydantic import Field

from segbench.core.spec import Size
from segbench.data.facts import Archive, DatasetOptions

_SITE = "https://www.cityscapes-dataset.com/file-handling/?packageID="
_FRAME = r"(?:{splits})/[^/]+/[^/]+_"


class Options(DatasetOptions):
    """Cityscapes. Counts are those of the split lists, digests GluonCV's; the site rounds its sizes."""

    title: str = "Cityscapes"
    table: str = "cityscapes"
    variants: tuple[str, ...] = ("cityscapes-20",)
    splits: dict[str, tuple[int, ...]] = Field(default={"train": (2975,), "val": (500,), "test": (1525,)})
    optional: tuple[str, ...] = ("test",)
    secret: tuple[str, ...] = ("test",)
    native_size: Size | None = (1024, 2048)
    size_bytes: int = 11_600_000_000
    licence: str = "Non-commercial use only; the data must not be passed on, changed or not; trained models may be."
    obtain: str = (
        "Behind a free account at www.cityscapes-dataset.com: leftImg8bit_trainvaltest.zip (11 GB) and "
        "gtFine_trainvaltest.zip (241 MB)."
    )
    archives: tuple[Archive, ...] = (
        Archive(
            name="leftImg8bit_trainvaltest.zip",
            urls=(f"{_SITE}3",),
            members=rf"(leftImg8bit/{_FRAME.format(splits='train|val|test')}leftImg8bit\.png)",
            checksums={"sha1": "2c0b77ce9933cc635adda307fbba5566f5d9d404"},
            account="cityscapes",
        ),
        Archive(
            name="gtFine_trainvaltest.zip",
            urls=(f"{_SITE}1",),
            members=rf"(gtFine/{_FRAME.format(splits='train|val')}gtFine_(?:labelIds|instanceIds)\.png)",
            checksums={"sha1": "99f532cb1af174f5fcc4c5bc8feea8c66246ddbc"},
            account="cityscapes",
            splits=("train", "val"),
        ),
    )
    notes: tuple[str, ...] = (
        "The test labels that come with it are dummies in which all is ignored: only the server scores test.",
        "Licence plates have no pixels of their own in the label files; they count as the car they belong to.",
        "Groups whose members could not be told apart count for IoU and not for the instance-weighted iIoU.",
    )
