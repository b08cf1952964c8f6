"""Facts of PASCAL-Context; unverified statements are marked."""

from pydantic import Field

from segbench.core.spec import Size
from segbench.data.facts import Archive, DatasetOptions

_MASKS = "https://hangzh.s3.amazonaws.com/encoding/data/pcontext"


class Options(DatasetOptions):
    """PASCAL-Context.

    Counts: those of the files in use, then those that papers print. Digests: torchvision's and PyTorch-Encoding's.
    ``train.pth`` and ``val.pth`` are single files, not archives.
    """

    title: str = "PASCAL-Context"
    table: str = "pascal-context"
    variants: tuple[str, ...] = ("pascal-context-60",)
    splits: dict[str, tuple[int, ...]] = Field(default={"train": (4996, 4998), "val": (5104, 5105)})
    native_size: Size | None = None
    size_bytes: int = 1_400_000_000
    licence: str = "Flickr terms for the images; cite Mottaghi et al., CVPR 2014."
    obtain: str = (
        "No login: VOCtrainval_03-May-2010.tar (about 1.3 GB, unverified) from thor.robots.ox.ac.uk, and "
        "the masks of PyTorch-Encoding, train.pth and val.pth. If those cannot be had, put trainval_merged.json "
        "(PASCAL in Detail) or the folder trainval of .mat files (trainval.tar.gz of cs.stanford.edu/~roozbeh/"
        "pascal-context) into the data set's folder: segbench data prepare pascal-context makes the masks of either."
    )
    archives: tuple[Archive, ...] = (
        Archive(
            name="VOCtrainval_03-May-2010.tar",
            urls=(
                "https://thor.robots.ox.ac.uk/pascal/VOC/voc2010/VOCtrainval_03-May-2010.tar",
                "http://host.robots.ox.ac.uk/pascal/VOC/voc2010/VOCtrainval_03-May-2010.tar",
            ),
            members=r"VOCdevkit/VOC2010/(JPEGImages/[^/]+\.jpg|ImageSets/Main/(?:train|val)\.txt)",
            checksums={"md5": "da459979d0c395079b5c75ee67908abb", "sha1": "bf9985e9f2b064752bf6bd654d89f017c76c395a"},
        ),
        Archive(
            name="train.pth",
            urls=(f"{_MASKS}/train.pth",),
            members=r"(train\.pth)",
            checksums={"md5": "cf4344a5eef8139e057e3efefab18b37", "sha1": "4bfb49e8c1cefe352df876c9b5434e655c9c1d07"},
        ),
        Archive(
            name="val.pth",
            urls=(f"{_MASKS}/val.pth",),
            members=r"(val\.pth)",
            checksums={"md5": "92636c23dca1b3f0ef8b1fba3a9e6b9e", "sha1": "ebedc94247ec616c57b9a2df15091784826a7b0c"},
        ),
    )
    notes: tuple[str, ...] = (
        "Papers print 4,998 and 5,105 images; since the organisers changed the split the public masks have 4,996 and "
        "5,104. Either is taken for whole.",
        "What papers call test is this val; the VOC 2010 test images have no public labels.",
        "Value 0 is background: ignored with 59 classes, a class of its own with 60, which are not to be compared.",
    )
