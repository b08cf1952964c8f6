"""Label sets on disk: what is written is read back, and what does not fit is said in one line."""

from pathlib import Path

import numpy as np
import pytest

from segbench.core.errors import InvalidFault, MissingFault
from segbench.core.spec import DataSpec, SubsetSpec
from segbench.data import label_sets
from segbench.data.label_sets import LabelSet, Provenance, Relabelled
from segbench.data.open import open_dataset

DATA = DataSpec(name="camvid", source="generated", images=3, size=(32, 48))


@pytest.fixture
def made(tmp_path: Path) -> LabelSet:
    images = open_dataset(DATA)
    made_by = Provenance("abc", "teacher", "ff", label_sets.described(DATA), "camvid", tuple(images.classes.names), 0.7)
    files, rng = {}, np.random.default_rng(0)
    for index in range(len(images)):
        key = images.key(index)
        labels = rng.integers(0, 11, (32, 48)).astype(np.uint8)
        labels[:2] = 255
        files[key] = label_sets.write_labels(label_sets.label_file(tmp_path, key), labels)
    found = LabelSet(tmp_path, made_by, files, [1 / 11] * 11, 30 / 32)
    label_sets.write_manifest(found)
    return found


def test_there_and_back(made: LabelSet) -> None:
    again = label_sets.open_label_set(made.folder)
    assert (again.made_by, again.images, again.kept) == (made.made_by, made.images, made.kept)
    assert list(again.faults()) == []
    plain, images = open_dataset(DATA), open_dataset(DATA.model_copy(update={"labels_from": "t"}), labels=made.folder)
    assert isinstance(images, Relabelled) and len(images) == 3
    for index in range(3):
        (image, own), (same, given) = plain.read(index), images.read(index)
        assert np.array_equal(image, same) and not np.array_equal(own, given)
        assert np.array_equal(given, made.read(images.key(index)))
        assert images.instances(index) is None


def test_what_is_wrong_with_the_files(made: LabelSet) -> None:
    first, second, _ = made.images
    label_sets.label_file(made.folder, first).unlink()
    label_sets.write_labels(label_sets.label_file(made.folder, second), np.zeros((32, 48), np.uint8))
    faults = list(made.faults())
    assert len(faults) == 2 and "missing" in faults[0] and "not the file that was written" in faults[1]
    with pytest.raises(MissingFault, match="has no labels of"):
        made.read(first)
    label_sets.label_file(made.folder, second).write_bytes(b"no picture")
    with pytest.raises(MissingFault, match="not a grey 8-bit PNG"):
        made.read(second)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"data": {"name": "other"}}, "data"),
        ({"table": "cityscapes"}, "class table"),
        ({"classes": ("road",)}, "classes"),
        ({"threshold": None}, "threshold"),
        ({"training": "old"}, "training"),
        ({"weights_sha256": "00"}, "weights"),
    ],
)
def test_a_set_of_something_else(made: LabelSet, change: dict[str, object], word: str) -> None:
    keys = list(made.images)
    label_sets.require_fits(made, made.made_by, keys)
    with pytest.raises(InvalidFault, match=f"was made with another {word}") as fault:
        label_sets.require_fits(made, Provenance(**{**vars(made.made_by), **change}), keys)
    assert fault.value.next.startswith(f"rm -r {made.folder}")
    with pytest.raises(InvalidFault, match="lacks 1 of 4 images, such as train/new"):
        label_sets.require_fits(made, made.made_by, [*keys, "train/new"])


@pytest.mark.parametrize("text", ["", "{", '{"schema": 9}', '{"schema": 1}', "[]"])
def test_a_manifest_that_does_not_read(made: LabelSet, text: str) -> None:
    (made.folder / label_sets.MANIFEST).write_text(text)
    with pytest.raises(InvalidFault, match="does not read"):
        label_sets.open_label_set(made.folder)


def test_no_manifest(made: LabelSet) -> None:
    (made.folder / label_sets.MANIFEST).unlink()
    with pytest.raises(MissingFault, match="holds no finished label set"):
        label_sets.open_label_set(made.folder)


def test_labels_of_another_size(made: LabelSet) -> None:
    key = next(iter(made.images))
    label_sets.write_labels(label_sets.label_file(made.folder, key), np.zeros((8, 8), np.uint8))
    images = open_dataset(DATA.model_copy(update={"labels_from": "t"}), labels=made.folder)
    with pytest.raises(MissingFault, match="is 8x8, its image 32x48"):
        images.read(0)


def test_a_stage_that_gave_no_labels() -> None:
    with pytest.raises(InvalidFault, match="its labels come from stage 'teacher', which gave none"):
        open_dataset(DATA.model_copy(update={"labels_from": "teacher"}))


def test_the_folder_depends_on_the_images_and_the_threshold_alone(tmp_path: Path) -> None:
    few = DATA.model_copy(update={"subset": SubsetSpec(count=1), "unlabelled_rest": True, "labels_from": "one"})
    folders = {
        label_sets.set_folder(tmp_path, spec)
        for spec in (
            few,
            few.model_copy(update={"labels_from": "two"}),
            few.model_copy(update={"labels_threshold": 0.9}),
        )
    }
    assert len(folders) == 2


def test_tally() -> None:
    assert label_sets.tally(np.array([[0, 1, 1], [255, 2, 255]], np.uint8), 3).tolist() == [1, 2, 1, 2]
