"""The first ``dataset.yaml`` that is written for a user: it must read back as what lies in the folders."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from segbench.core.errors import InvalidFault, MissingFault
from segbench.core.spec import DataSpec
from segbench.data.classes import class_table
from segbench.data.open import open_dataset
from segbench.data.own_data import discover as own
from segbench.data.own_data.description import Description, read
from segbench.data.own_data.starter import starter
from tests.data.own_tree import COLOURS, VALUES, arrays, put, write_fields, write_yards


@pytest.fixture(autouse=True)
def _nothing_stays() -> Iterator[None]:
    yield
    own.forget()


def begun(root: Path, pictures: Path, labels: Path) -> Description:
    """What is written reads back without a fault."""
    home = root / "mine"
    home.mkdir(parents=True, exist_ok=True)
    (home / "dataset.yaml").write_text(starter("mine", home, pictures, labels), encoding="utf-8")
    told, faults = read(home / "dataset.yaml")
    assert told is not None, faults
    own.discover(root)
    return told


def test_colours_in_folders_of_splits(tmp_path: Path) -> None:
    there = write_fields(tmp_path / "there")
    told = begun(tmp_path / "data", there / "images", there / "labels")
    assert (told.images, told.labels, list(told.splits)) == (
        "images/{split}/*.png",
        "labels/{split}/*_gt.png",
        ["train", "val"],
    )
    assert told.label_mode == "colours"
    assert {each.colour for each in told.classes} == {tuple(colour) for colour in COLOURS.tolist()}
    label = open_dataset(DataSpec(name="mine", splits=("val",)), root=tmp_path / "data").read(1)[1]
    palette = class_table("mine").palette()
    assert np.array_equal(palette[label], COLOURS[arrays("val", 1)[1]])


def test_values_in_one_folder(tmp_path: Path) -> None:
    there = write_yards(tmp_path / "there")
    told = begun(tmp_path / "data", there / "pictures", there / "masks")
    assert (told.images, told.labels, list(told.splits)) == ("pictures/*.jpg", "masks/*.png", ["train"])
    assert [each.value for each in told.classes] == sorted(VALUES.tolist())
    assert len(open_dataset(DataSpec(name="mine"), root=tmp_path / "data")) == 4


def test_splits_above_images(tmp_path: Path) -> None:
    for split in ("val", "train", "extra"):
        put(tmp_path / "set" / split / "rgb" / "one_cam-left.png", np.zeros((8, 8, 3), np.uint8))
        put(tmp_path / "set" / split / "ids" / "one_cam-ids.png", np.array([[0, 255], [1, 0]], np.uint8))
    told = begun(tmp_path / "data", tmp_path / "set" / "{split}" / "rgb", tmp_path / "set" / "{split}" / "ids")
    assert (told.folder, told.images) == (str(tmp_path / "set"), "{split}/rgb/*-left.png")
    assert (told.labels, list(told.splits)) == ("{split}/ids/*-ids.png", ["train", "val", "extra"])
    assert ([each.value for each in told.classes], told.ignore) == ([0, 1], (255,))


def test_files_beside_their_description_need_no_folder(tmp_path: Path) -> None:
    there = write_fields(tmp_path / "data")
    there.rename(tmp_path / "data" / "mine")
    there = tmp_path / "data" / "mine"
    assert begun(tmp_path / "data", there / "images", there / "labels").folder is None


def test_what_cannot_be_begun(tmp_path: Path) -> None:
    there = write_yards(tmp_path / "there")
    with pytest.raises(MissingFault, match="nowhere is not a folder"):
        starter("mine", tmp_path, there / "nowhere", there / "masks")
    (there / "empty").mkdir()
    with pytest.raises(MissingFault, match=r"train0\.jpg and nothing"):
        starter("mine", tmp_path, there / "pictures", there / "empty")
    put(there / "others" / "x.png", np.zeros((8, 8), np.uint8))
    with pytest.raises(MissingFault, match="No image and label have the same name"):
        starter("mine", tmp_path, there / "pictures", there / "others")
    with pytest.raises(InvalidFault, match="these are not label files"):
        starter("mine", tmp_path, there / "pictures", there / "pictures")
    (there / "masks" / "train0.png").write_bytes(b"no image")
    with pytest.raises(MissingFault, match=r"train0\.png"):
        starter("mine", tmp_path, there / "pictures", there / "masks")
