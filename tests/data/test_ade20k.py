"""ADE20K from tiny official archives: every layout, the published table, and what only looks like it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from segbench.core.errors import MissingFault
from segbench.core.spec import DataSpec
from segbench.data import reader
from segbench.data.classes import class_table
from segbench.data.facts import facts
from segbench.data.images import BrokenFile
from segbench.data.open import open_dataset
from segbench.data.sets.ade20k.reader import read_label
from segbench.data.verify import verify
from tests.data.official import ade20k as tiny
from tests.data.official.unpacked import files_in, unpack

NAME = "ade20k"
# value, train id, name: rows of the published list.
ROWS = [(1, 0, "wall"), (13, 12, "person"), (44, 43, "signboard"), (67, 66, "flower"), (150, 149, "flag")]


def renamed(folder: Path) -> None:
    for kind in ("images", "annotations"):
        (folder / kind / "training").rename(folder / kind / "train")
        (folder / kind / "validation").rename(folder / kind / "val")


def split_first(folder: Path) -> None:
    """What ContrastiveSeg's ade20k_generator.py leaves."""
    for kind, short in (("images", "image"), ("annotations", "label")):
        for long, split in (("training", "train"), ("validation", "val")):
            (folder / split).mkdir(exist_ok=True)
            (folder / kind / long).rename(folder / split / short)


def unchanged(folder: Path) -> None:
    pass


LAYOUTS: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "as segbench unpacks it": ("ade20k", unchanged, "as unpacked"),
    "as the zip unpacks": ("ade20k/ADEChallengeData2016", unchanged, "as unpacked"),
    "mmsegmentation": ("ade/ADEChallengeData2016", unchanged, "as unpacked"),
    "root itself": (".", unchanged, "as unpacked"),
    "renamed": ("ADE20K", renamed, "folders named train and val"),
    "ContrastiveSeg": ("ade20k", split_first, "copied by ContrastiveSeg"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny.write_tree(tmp_path / "data" / NAME)


def test_facts() -> None:
    options = facts(NAME)
    assert options.splits == {"train": (20210,), "val": (2000,), "test": (3352,)}
    assert options.secret == options.optional == ("test",)
    table = class_table(NAME)
    assert dict(table.values) == {0: 255, **{value: value - 1 for value in range(1, 151)}}
    for value, train_id, name in ROWS:
        assert (dict(table.values)[value], table.names[train_id]) == (train_id, name)
    assert table.classes[6].color == table.classes[48].color == (140, 140, 140)  # road and skyscraper


def test_archives_unpack_to_the_folder(tmp_path: Path, folder: Path) -> None:
    archives = tiny.write_archives(tmp_path / "archives")
    found = unpack(archives, tiny.tiny_options(), tmp_path / "unpacked")
    assert found == files_in(folder)
    assert len([name for name in found if name.endswith((".jpg", ".png"))]) == 2 * 3 + 2 * 2 + 2


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_holds_the_same(tmp_path: Path, layout: str) -> None:
    place, change, says = LAYOUTS[layout]
    root = tmp_path / "data"
    folder = tiny.write_tree(root / place)
    change(folder)
    assert reader.locate(NAME, root) == folder
    assert reader.layout(NAME, folder).startswith(says)
    assert reader.examine(NAME, folder) == []
    dataset = open_dataset(DataSpec(name=NAME, splits=("train", "val")), root=root)
    assert len(dataset) == 5
    assert dataset.key(3) == "val/ADE_val_00000001"
    for index, (split, number) in enumerate([("train", 0), ("train", 1), ("train", 2), ("val", 0)]):
        raw = tiny.arrays(split, number)[1].astype(int)
        image, label = dataset.read(index)
        assert image.shape[:2] == raw.shape
        assert np.array_equal(label, np.where(raw == 0, 255, raw - 1))
    assert verify(NAME, root, options=tiny.tiny_options()).folder == folder


def test_the_test_images_have_no_labels_and_may_be_absent(folder: Path) -> None:
    listed = reader.pairs(NAME, folder, "test")
    assert [(pair.key, pair.label) for pair in listed] == [
        ("test/ADE_test_00000001", None),
        ("test/ADE_test_00000002", None),
    ]
    image, label = open_dataset(DataSpec(name=NAME, splits=("test",)), root=folder.parent).read(0)
    assert image.shape == (40, 60, 3)
    assert (label == 255).all()
    (folder / "release_test").rename(folder.parent / "release_test")  # as both zips unpack in one place
    assert all(pair.image.is_file() for pair in reader.pairs(NAME, folder, "test"))
    assert len(reader.pairs(NAME, folder, "test")) == 2
    shutil.rmtree(folder.parent / "release_test")
    assert reader.pairs(NAME, folder, "test") == []
    verify(NAME, folder.parent, options=tiny.tiny_options())


def test_halves_without_counterpart_are_named(folder: Path) -> None:
    (folder / "images" / "training" / "ADE_train_00000001.jpg").unlink()
    (folder / "annotations" / "training" / "ADE_train_00000003.png").unlink()
    (folder / "images" / "training" / "._ADE_train_00000009.jpg").write_bytes(b"left by another system")
    assert [pair.key for pair in reader.pairs(NAME, folder, "train")] == [f"train/ADE_train_{n:08d}" for n in (1, 2, 3)]
    with pytest.raises(MissingFault) as caught:
        open_dataset(DataSpec(name=NAME), root=folder.parent)
    assert len(caught.value.faults) == 2


def full_by_scene(folder: Path) -> None:
    shutil.rmtree(folder)
    scene = folder / "images" / "training" / "a" / "abbey"
    scene.mkdir(parents=True)
    (scene / "ADE_train_00000970.jpg").write_bytes(b"")
    (scene / "ADE_train_00000970_seg.png").write_bytes(b"")


def full_by_index(folder: Path) -> None:
    shutil.rmtree(folder)
    (folder / "ADE20K_2021_17_01" / "images" / "ADE").mkdir(parents=True)
    (folder / "ADE20K_2021_17_01" / "index_ade20k.pkl").write_bytes(b"")


def of_2017(folder: Path) -> None:
    (folder / "annotations").rename(folder / "annotations_instance")


@pytest.mark.parametrize(
    ("change", "says"),
    [(of_2017, "instance challenge of 2017"), (full_by_scene, "full ADE20K"), (full_by_index, "full ADE20K")],
)
def test_relatives_are_refused_with_the_reason(folder: Path, change: Callable[[Path], None], says: str) -> None:
    change(folder)
    assert reader.locate(NAME, folder.parent) == folder
    assert says in reader.layout(NAME, folder)
    [finding] = reader.examine(NAME, folder)
    assert finding.level == "fault"
    assert says in finding.text
    for split in ("train", "val", "test"):
        with pytest.raises(MissingFault, match=says) as caught:
            reader.pairs(NAME, folder, split)
        assert caught.value.next == "segbench data download ade20k --replace"
    with pytest.raises(MissingFault, match=says):
        open_dataset(DataSpec(name=NAME), root=folder.parent)
    with pytest.raises(MissingFault, match=says):
        verify(NAME, folder.parent, options=tiny.tiny_options())


def test_instances_beside_the_semantic_labels_disturb_nothing(folder: Path) -> None:
    (folder / "annotations_instance" / "training").mkdir(parents=True)
    assert len(reader.pairs(NAME, folder, "train")) == 3


def test_labels_that_were_shifted_already_are_not_taken(folder: Path) -> None:
    for path in (folder / "annotations").rglob("*.png"):
        path.write_bytes(tiny.png(cv2.imread(str(path), cv2.IMREAD_UNCHANGED) - np.uint8(1)))  # 0 becomes 255
    with pytest.raises(MissingFault, match="255"):
        open_dataset(DataSpec(name=NAME), root=folder.parent).read(0)
    with pytest.raises(MissingFault):
        verify(NAME, folder.parent, options=tiny.tiny_options())


def test_a_palette_changes_no_value(tmp_path: Path) -> None:
    values = tiny.arrays("train", 0)[1]
    picture = Image.fromarray(values)
    picture.putpalette(np.random.default_rng(0).integers(0, 256, 768).tolist())
    picture.save(tmp_path / "label.png")
    assert np.array_equal(read_label(tmp_path / "label.png"), values)


@pytest.mark.parametrize("place", ["images/{}.jpg", "annotations/{}.png"])
@pytest.mark.parametrize("keep", [0.1, 0.6, 0.99])
def test_files_that_are_cut_off(folder: Path, place: str, keep: float) -> None:
    path = folder / place.format("training/ADE_train_00000002")
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data))])
    with pytest.raises(BrokenFile, match="cut off"):
        open_dataset(DataSpec(name=NAME), root=folder.parent).read(1)
