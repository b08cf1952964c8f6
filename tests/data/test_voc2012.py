"""PASCAL VOC 2012 and SBD from tiny archives in the official form, held to torchvision, Pillow and scipy."""

import hashlib
import io
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import SBDataset, VOCSegmentation

from segbench.core.archive import extract
from segbench.core.errors import MissingFault
from segbench.core.spec import DataSpec
from segbench.data.facts import facts, member_path
from segbench.data.images import BrokenFile, read_image
from segbench.data.open import open_dataset
from segbench.data.sets.voc2012 import reader
from segbench.data.verify import verify
from tests.data.official import voc2012 as tiny
from tests.data.status import data_status

NAME = "voc2012"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Data root with a tiny VOC and SBD as segbench unpacks them."""
    tiny.write_tree(tmp_path / "data" / NAME)
    return tmp_path / "data"


def voc(folder: Path) -> Path:
    return folder / "VOCdevkit" / "VOC2012"


def add_masks(folder: Path, *, masks_of: tuple[str, ...] = (*tiny.TRAINAUG, *tiny.VAL), keep_sbd: bool = False) -> None:
    """SegmentationClassAug, in which VOC's own images have other labels too, as some packers have it."""
    masks = voc(folder) / "SegmentationClassAug"
    masks.mkdir()
    for name in masks_of:
        (masks / f"{name}.png").write_bytes(tiny.archives()[tiny.AUG][f"SegmentationClassAug/{name}.png"])
    if not keep_sbd:
        shutil.rmtree(folder / "benchmark_RELEASE")


def add_list(folder: Path, name: str, lines: list[str]) -> None:
    add_masks(folder)
    (voc(folder) / "ImageSets" / "Segmentation" / name).write_text("\n".join(lines))


def mmsegmentation(folder: Path) -> None:
    (folder / "VOCdevkit" / "VOCaug").mkdir()
    (folder / "benchmark_RELEASE" / "dataset").rename(folder / "VOCdevkit" / "VOCaug" / "dataset")


def devkit_alone(folder: Path) -> None:
    voc(folder).rename(folder / "VOC2012")


DEEPLAB = [f"/JPEGImages/{name}.jpg /SegmentationClassAug/{name}.png" for name in tiny.TRAINAUG]
LAYOUTS: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "official": (NAME, lambda folder: None, "from benchmark_RELEASE/dataset/cls"),
    "mmsegmentation": ("VOC2012", mmsegmentation, "from VOCdevkit/VOCaug/dataset/cls"),
    "root itself": (".", mmsegmentation, "from VOCdevkit/VOCaug/dataset/cls"),
    "without devkit": (NAME, devkit_alone, "VOC in VOC2012; "),
    "list of trainaug": (
        NAME,
        lambda folder: add_list(folder, "trainaug.txt", [*tiny.TRAINAUG]),
        "SegmentationClassAug",
    ),
    "list of what is added": (NAME, lambda folder: add_list(folder, "aug.txt", [*tiny.ADDED]), "SegmentationClassAug"),
    "list of paths": (NAME, lambda folder: add_list(folder, "train_aug.txt", DEEPLAB), "SegmentationClassAug"),
    "masks alone": (NAME, add_masks, "added labels from SegmentationClassAug"),
    "both": (NAME, lambda folder: add_masks(folder, keep_sbd=True), "SegmentationClassAug is not used"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_holds_the_same(tmp_path: Path, layout: str) -> None:
    where, change, words = LAYOUTS[layout]
    change(tiny.write_tree(tmp_path / where))
    assert verify(NAME, tmp_path, options=tiny.tiny_options()).folder == tmp_path / where
    assert data_status(NAME, tmp_path, options=tiny.tiny_options()) == "ready"
    assert words in reader.layout(tmp_path / where)
    for split, names in {"train": tiny.TRAIN, "val": tiny.VAL, "trainaug": tiny.TRAINAUG, "test": tiny.TEST}.items():
        dataset = open_dataset(DataSpec(name=NAME, splits=(split,)), root=tmp_path)
        assert [dataset.key(i) for i in range(len(dataset))] == [f"{split}/{name}" for name in names]
        for index, name in enumerate(names):
            image, label = dataset.read(index)
            truth = tiny.arrays(name)[1] if name in tiny.ADDED else tiny.bordered(name)
            assert np.array_equal(label, np.full_like(truth, 255) if split == "test" else truth)
            assert np.array_equal(image, np.asarray(Image.open(io.BytesIO(tiny.jpeg(tiny.arrays(name)[0])))))


def test_trainaug_is_put_together_as_documented() -> None:
    """VOC's train with SBD's train and val, less VOC's val, written out by hand from the lists above."""
    assert set(tiny.TRAINAUG) == {
        "2007_000032", "2007_000039", "2008_000008", "2011_003276",
        "2008_000002", "2008_000003", "2009_000001", "2010_000009",
    }  # fmt: skip
    assert set(tiny.SBD_TRAIN) & set(tiny.VAL) and set(tiny.SBD_VAL) & set(tiny.VAL)
    assert set(tiny.SBD_TRAIN) & set(tiny.TRAIN) and set(tiny.SBD_VAL) & set(tiny.TRAIN)


def test_torchvision_reads_the_same(root: Path) -> None:
    folder = root / NAME
    for split in ("train", "val"):
        theirs = VOCSegmentation(str(folder), year="2012", image_set=split)
        pairs = reader.pairs(folder, split)
        assert len(theirs) == len(pairs)
        for pair, (image, label) in zip(pairs, theirs, strict=True):
            assert np.array_equal(read_image(pair.image), np.asarray(image))
            assert pair.label is not None
            assert np.array_equal(reader.read_label(pair.label), np.asarray(label))
    sbd = folder / "benchmark_RELEASE" / "dataset"
    for member, data in tiny.archives()[tiny.SBD].items():
        (folder / member).parent.mkdir(parents=True, exist_ok=True)
        (folder / member).write_bytes(data)
    for split, names in {"train": tiny.SBD_TRAIN, "val": tiny.SBD_VAL}.items():
        theirs = SBDataset(str(sbd), image_set=split, mode="segmentation")
        for name, (image, label) in zip(names, theirs, strict=True):
            assert np.array_equal(reader.read_label(sbd / "cls" / f"{name}.mat"), np.asarray(label))
            assert np.array_equal(read_image(voc(folder) / "JPEGImages" / f"{name}.jpg"), np.asarray(image))


def test_archives_unpack_to_what_is_wanted(tmp_path: Path) -> None:
    paths = tiny.write_archives(tmp_path)
    tiny.write_tree(tmp_path / "tree")
    seen: set[Path] = set()
    for archive in facts(NAME).archives:
        target = tmp_path / archive.name.replace(".", "_")
        extract(paths[archive.name], target, select=lambda name, one=archive: member_path(one, name), max_bytes=10**6)
        for path in (path for path in target.rglob("*") if path.is_file()):
            place = path.relative_to(target)
            assert place not in seen  # no archive writes over another's files
            seen.add(place)
            assert path.read_bytes() == (tmp_path / "tree" / place).read_bytes()
    assert seen == {path.relative_to(tmp_path / "tree") for path in (tmp_path / "tree").rglob("*") if path.is_file()}
    assert {path.parts[-2] for path in seen} == {"JPEGImages", "SegmentationClass", "Segmentation", "cls", "dataset"}
    again = tiny.write_archives(tmp_path / "again")
    assert all(paths[name].read_bytes() == again[name].read_bytes() for name in paths)


def test_what_serves_which_split(root: Path) -> None:
    needs = {archive.name: archive.splits for archive in facts(NAME).archives}
    assert needs == {tiny.VOC: ("train", "val", "trainaug"), tiny.SBD: ("trainaug",), tiny.SERVER: ("test",)}
    assert facts(NAME).optional == facts(NAME).secret == ("test",)
    shutil.rmtree(root / NAME / "benchmark_RELEASE")
    assert reader.pairs(root / NAME, "trainaug") == []
    assert "nothing to make trainaug from" in reader.layout(root / NAME)
    with pytest.raises(MissingFault, match="holds no images of trainaug"):
        open_dataset(DataSpec(name=NAME, splits=("trainaug",)), root=root)
    assert len(open_dataset(DataSpec(name=NAME, splits=("train", "val")), root=root)) == 7


def test_folders_that_are_not_there(tmp_path: Path) -> None:
    assert reader.locate(tmp_path) is None
    with pytest.raises(MissingFault, match="PASCAL VOC 2012 is not under") as caught:
        open_dataset(DataSpec(name=NAME), root=tmp_path)
    assert caught.value.next == f"segbench data download {NAME}"
    (tmp_path / "VOC2012").mkdir()
    assert reader.locate(tmp_path) == tmp_path / "VOC2012"
    assert all(reader.pairs(tmp_path / "VOC2012", split) == [] for split in facts(NAME).splits)


# -- what can be wrong ------------------------------------------------------------------------------------------------


def test_examine_knows_the_list_in_use(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (finding,) = reader.examine(root / NAME)
    assert finding.level == "note"
    assert finding.text == "trainaug: its 8 names are not those of the list in use, which has 10,582."
    listing = (
        b"2007_000032\n2007_000039\n2008_000002\n2008_000003\n2008_000008\n2009_000001\n2010_000009\n2011_003276\n"
    )
    monkeypatch.setattr(reader, "_TRAINAUG_SHA256", hashlib.sha256(listing).hexdigest())
    (finding,) = reader.examine(root / NAME)
    assert finding.level == "ok"


def test_examine_finds_lists_that_overlap_or_are_missing(root: Path) -> None:
    lists = voc(root / NAME) / "ImageSets" / "Segmentation"
    (lists / "val.txt").write_text((lists / "val.txt").read_text() + "2007_000032\n")
    (fault,) = [finding for finding in reader.examine(root / NAME) if finding.level == "fault"]
    assert fault.text == "1 images are in train and in val, the first is 2007_000032."
    (lists / "val.txt").unlink()
    (fault,) = [finding for finding in reader.examine(root / NAME) if finding.level == "fault"]
    assert fault.text == f"{lists / 'val.txt'} is missing or empty."


def png(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "PNG")
    return stream.getvalue()


BAD: dict[str, tuple[Callable[[np.ndarray], bytes], str]] = {
    "colour": (lambda label: png(np.dstack([label] * 3)), "is a colour image of 8 bits, not a palette or grey 8-bit"),
    "16 bits": (lambda label: png(label.astype(np.uint16)), "is a grey image of 16 bits, not a palette or grey 8-bit"),
    "cut off": (lambda label: tiny.palette_png(label)[:-20], "is cut off"),
    "size": (lambda label: tiny.palette_png(label[:, :-1].copy()), "they must be equal"),
    "value": (lambda label: tiny.palette_png(np.where(label == 20, 21, label).astype(np.uint8)), "label values 21"),
}


def expect_fault(root: Path, path: Path, text: str) -> None:
    with pytest.raises(MissingFault) as caught:
        verify(NAME, root, options=tiny.tiny_options())
    faults = "\n".join(caught.value.faults)
    assert str(path) in faults and text in faults


@pytest.mark.parametrize("kind", BAD)
def test_bad_labels(root: Path, kind: str) -> None:
    make, text = BAD[kind]
    path = voc(root / NAME) / "SegmentationClass" / f"{tiny.VAL[0]}.png"
    path.write_bytes(make(tiny.bordered(tiny.VAL[0])))
    expect_fault(root, path, text)
    with pytest.raises(MissingFault) as caught:
        open_dataset(DataSpec(name=NAME, splits=("val",)), root=root).read(0)
    assert str(path) in caught.value.faults[0]


def test_bad_sbd_files(root: Path) -> None:
    path = root / NAME / "benchmark_RELEASE" / "dataset" / "cls" / f"{tiny.ADDED[0]}.mat"
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    expect_fault(root, path, "is cut off, damaged or no MATLAB file with GTcls.Segmentation")
    path.write_bytes(tiny.sbd_mat(np.full((9, 9), 21, np.uint8), compressed=False))
    with pytest.raises(MissingFault, match="9x9 but its image"):
        open_dataset(DataSpec(name=NAME, splits=("trainaug",)), root=root).read(2)
    path.unlink()
    with pytest.raises(MissingFault) as caught:
        open_dataset(DataSpec(name=NAME, splits=("trainaug",)), root=root)
    assert caught.value.faults == (f"{path}: is missing",)


def test_bad_images(root: Path) -> None:
    path = voc(root / NAME) / "JPEGImages" / f"{tiny.VAL[1]}.jpg"
    data = path.read_bytes()
    path.write_bytes(data[:-2])  # all pixels are there, the end mark is not
    expect_fault(root, path, "is cut off")
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(BrokenFile, match="is cut off"):
        open_dataset(DataSpec(name=NAME, splits=("val",)), root=root).read(1)
    path.unlink()
    with pytest.raises(MissingFault) as caught:
        open_dataset(DataSpec(name=NAME, splits=("val",)), root=root)
    assert caught.value.faults == (f"{path}: is missing",)


def test_greyscale_copies_of_the_labels_read_the_same(root: Path) -> None:
    """DeepLab's preparation takes the palettes off."""
    path = voc(root / NAME) / "SegmentationClass" / f"{tiny.TRAIN[0]}.png"
    path.write_bytes(cv2.imencode(".png", tiny.bordered(tiny.TRAIN[0]))[1].tobytes())
    assert np.array_equal(reader.read_label(path), tiny.bordered(tiny.TRAIN[0]))
