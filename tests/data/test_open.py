"""Data sets as sequences: splits, sizes, subsets, generated ones, and what is kept in memory."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from segbench.core.errors import InvalidFault, MissingFault, UsageFault
from segbench.core.spec import DataSpec
from segbench.data import images, reader
from segbench.data.dataset import SegDataset
from segbench.data.open import open_dataset
from segbench.data.prepared.folder import CacheUse
from tests.data.camvid_tree import arrays, places, png, tree_options


def spec(**more: object) -> DataSpec:
    return DataSpec(name="camvid", **more)  # type: ignore[arg-type]


def test_root_comes_from_the_environment(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGBENCH_DATA", str(tree))
    dataset = open_dataset(spec(splits=("val",)))
    assert len(dataset) == 2
    assert dataset.classes.num_classes == 11


def test_shrunk_image_is_the_area_mean_and_label_the_nearest(tree: Path) -> None:
    image, raw = arrays("train", 0)
    small, label = open_dataset(spec(scale=0.5), root=tree).read(0)
    mean = image.reshape(12, 2, 16, 2, 3).astype(float).mean(axis=(1, 3))
    assert np.abs(small - mean).max() <= 0.51
    assert label.shape == (12, 16)
    for row in range(12):
        for column in range(16):
            block = raw[2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            assert label[row, column] in np.where(block == 11, 255, block)


def test_enlarged_image_is_bilinear(tree: Path) -> None:
    large, label = open_dataset(spec(size=(48, 64)), root=tree).read(0)
    assert np.array_equal(large, cv2.resize(arrays("train", 0)[0], (64, 48), interpolation=cv2.INTER_LINEAR))
    raw = arrays("train", 0)[1]
    assert np.array_equal(label[::2, ::2], np.where(raw == 11, 255, raw))
    assert np.array_equal(label[1::2, 1::2], label[::2, ::2])


def test_refusals(tree: Path) -> None:
    with pytest.raises(UsageFault, match="no split 'dev'"):
        open_dataset(spec(splits=("dev",)), root=tree)
    with pytest.raises(InvalidFault, match="scale and size"):
        open_dataset(spec(scale=0.5, size=(10, 10)), root=tree)
    with pytest.raises(InvalidFault, match="images"):
        open_dataset(spec(images=3), root=tree)
    with pytest.raises(InvalidFault, match="does not fit"):
        open_dataset(spec(classes="cityscapes"), root=tree)
    with pytest.raises(InvalidFault, match="unlabelled_rest"):
        open_dataset(spec(unlabelled_rest=True), root=tree)
    with pytest.raises(InvalidFault, match="none of the 5 images without a label"):
        open_dataset(spec(subset={"count": 5}, unlabelled_rest=True), root=tree)
    with pytest.raises(InvalidFault, match="more than the 5"):
        open_dataset(spec(subset={"count": 6}), root=tree)
    with pytest.raises(UsageFault):
        open_dataset(DataSpec(name="camvit"), root=tree)


def test_subset_and_the_rest_without_labels(tree: Path) -> None:
    chosen = open_dataset(spec(subset={"count": 2, "draw": 7}), root=tree)
    rest = open_dataset(spec(subset={"count": 2, "draw": 7}, unlabelled_rest=True), root=tree)
    keys = [chosen.key(i) for i in range(2)] + [rest.key(i) for i in range(3)]
    assert sorted(keys) == [f"train/seq_{i:05d}" for i in range(5)]
    assert (rest.read(0)[1] == 255).all()
    assert (chosen.read(0)[1] != 255).any()
    draws = {
        tuple(open_dataset(spec(subset={"count": 2, "draw": d}), root=tree).key(i) for i in (0, 1)) for d in range(9)
    }
    assert len(draws) > 2


def test_generated_needs_no_folder_and_no_names() -> None:
    dataset = open_dataset(spec(source="generated", splits=("train", "val"), images=5, size=(32, 48)))
    assert [dataset.key(i) for i in (0, 2, 3)] == [
        "train/generated_00000",
        "train/generated_00002",
        "val/generated_00000",
    ]
    image, label = dataset.read(4)
    assert image.shape == (32, 48, 3)
    assert label.shape == (32, 48)
    other = open_dataset(spec(source="generated", splits=("train", "val"), images=5, size=(32, 48)), seed=1)
    assert not np.array_equal(other.read(4)[0], image)
    assert len(open_dataset(spec(source="generated", splits=("val",)))) == 101
    assert open_dataset(spec(source="generated", scale=0.1)).read(0)[1].shape == (36, 48)


def test_images_are_read_once_and_kept_up_to_the_cap(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[Path] = []
    read = images.read_image
    monkeypatch.setattr(images, "read_image", lambda path: reads.append(path) or read(path))
    cost = 24 * 32 * 4
    dataset = open_dataset(spec(), root=tree, ram_bytes=2 * cost)
    first = dataset.read(0)
    for _ in range(2):
        for index in range(5):
            dataset.read(index)
    assert len(reads) == 2 + 2 * 3
    assert dataset.read(0)[0] is first[0]
    with pytest.raises(ValueError, match="read-only"):
        first[0][0, 0] = 0
    reads.clear()
    plain = open_dataset(spec(), root=tree, ram_bytes=0)
    plain.read(0)
    plain.read(0)
    assert len(reads) == 2


@pytest.mark.parametrize("cache", ["off", "make"])
def test_instances_are_those_of_the_files_at_their_own_size(tmp_path: Path, cache: CacheUse) -> None:
    ids = np.arange(24 * 32, dtype=np.uint16).reshape(24, 32) * 40  # up to 30,680, as ids of 1000 times the class are
    for split, frame in (("train", 0), ("train", 1), ("val", 2)):
        city = "aachen" if split == "train" else "frankfurt"
        stem = f"{city}_000000_{frame:06d}"
        image, label = (tmp_path / "cityscapes" / kind / split / city for kind in ("leftImg8bit", "gtFine"))
        for folder in (image, label):
            folder.mkdir(parents=True, exist_ok=True)
        (image / f"{stem}_leftImg8bit.png").write_bytes(png(np.zeros((24, 32, 3), np.uint8)))
        (label / f"{stem}_gtFine_labelIds.png").write_bytes(png(np.full((24, 32), 7, np.uint8)))
        if frame != 1:
            (label / f"{stem}_gtFine_instanceIds.png").write_bytes(png(ids + np.uint16(frame)))

    def opened(**more: object) -> SegDataset:
        data = DataSpec(name="cityscapes", splits=("train", "val"), **more)  # type: ignore[arg-type]
        return open_dataset(data, root=tmp_path, cache=cache)

    dataset = opened()
    for index, frame in ((0, 0), (2, 2)):
        found = dataset.instances(index)
        assert found is not None and found.dtype == np.int32
        assert np.array_equal(found, ids.astype(np.int32) + frame)
    assert opened(scale=0.5).instances(0) is None
    assert opened(size=(24, 32)).instances(0) is None
    assert open_dataset(DataSpec(name="cityscapes", source="generated", images=1, size=(24, 32))).instances(0) is None


def test_data_set_without_a_reader(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(reader, "is_readable", lambda name: False)
    with pytest.raises(MissingFault, match="cannot read CamVid"):
        open_dataset(spec(), root=tmp_path)
    assert len(open_dataset(spec(source="generated", images=2), root=tmp_path)) == 2


def test_one_label_value_too_many_in_another_split_does_not_matter(tree: Path) -> None:
    (places(tree / "camvid", "test")[1] / "seq_00000.png").write_bytes(png(np.full((24, 32), 99, np.uint8)))
    assert len(open_dataset(spec(splits=("train",)), root=tree)) == 5
    assert tree_options().splits["test"] == (3,)
