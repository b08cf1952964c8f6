"""COCO-Stuff 10k from a tiny official archive: every layout, every encoding met in public code, and what is refused."""

import io
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.io import loadmat

from segbench.core.errors import MissingFault
from segbench.core.spec import DataSpec
from segbench.data import reader
from segbench.data.classes import class_table
from segbench.data.facts import facts
from segbench.data.images import BrokenFile
from segbench.data.open import open_dataset
from segbench.data.sets.coco_stuff_10k.encodings import Encoding, lookup, tell
from segbench.data.verify import verify
from tests.data.official import coco_stuff_10k as tiny
from tests.data.official.ade20k import png
from tests.data.official.unpacked import files_in, unpack

NAME = "coco-stuff-10k"
# id in the .mat file, train id, name: rows of the published list, before and behind each gap.
ROWS = [
    (1, 0, "person"), (11, 10, "fire hydrant"), (13, 11, "stop sign"), (25, 23, "giraffe"), (27, 24, "backpack"),
    (28, 25, "umbrella"), (31, 26, "handbag"), (44, 39, "bottle"), (46, 40, "wine glass"), (65, 59, "bed"),
    (67, 60, "dining table"), (70, 61, "toilet"), (72, 62, "tv"), (82, 72, "refrigerator"), (84, 73, "book"),
    (90, 79, "toothbrush"), (92, 80, "banner"), (136, 124, "mud"), (157, 145, "sky-other"), (182, 170, "wood"),
]  # fmt: skip
TRAIN_ID = {value: train_id for train_id, value in enumerate(tiny.IDS)}


def expected(raw: np.ndarray) -> np.ndarray:
    """Train ids of a raw label, pixel by pixel."""
    return np.array([[TRAIN_ID.get(int(value), 255) for value in row] for row in raw], np.uint8)


def rewrite(folder: Path, *, encode: Callable[[np.ndarray], np.ndarray], layout: str) -> None:
    """Turn the official folder into PNG files of another encoding, as other projects arrange them."""
    for split, count in tiny.COUNTS.items():
        for index in range(count):
            name, label = tiny.name_of(split, index), encode(tiny.arrays(split, index)[1])
            if layout == "mmsegmentation":
                image, place = folder / "images" / f"{split}2014", folder / "annotations" / f"{split}2014"
                target = place / f"{name}_labelTrainIds.png"
            else:
                part = folder / {"train": "train", "test": "val"}[split]
                image, place = part / layout, part / "label"
                target = place / f"{name}.png"
            image.mkdir(parents=True, exist_ok=True)
            place.mkdir(parents=True, exist_ok=True)
            (folder / "images" / f"{name}.jpg").rename(image / f"{name}.jpg")
            (folder / "annotations" / f"{name}.mat").unlink()
            target.write_bytes(png(label))


def ids(label: np.ndarray) -> np.ndarray:
    return label


def counted(label: np.ndarray) -> np.ndarray:
    """Ids that occur counted through, 0 for unlabelled: mmsegmentation's tools/dataset_converters/coco_stuff10k.py."""
    return np.array([[TRAIN_ID[value] + 1 if value else 0 for value in row] for row in label.tolist()], np.uint8)


def train_ids(label: np.ndarray) -> np.ndarray:
    return expected(label)


def less_one(label: np.ndarray) -> np.ndarray:
    """convertAnnotationsDeeplab.m, and the stuffthingmaps of the large set: 0 becomes 255."""
    return label - np.uint8(1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny.write_tree(tmp_path / "data" / NAME)


def test_facts() -> None:
    assert facts(NAME).splits == {"train": (9000,), "test": (1000,)}
    values, table = dict(class_table(NAME).values), class_table(NAME)
    assert values[0] == 255
    for value, train_id, name in ROWS:
        assert (values[value], table.names[train_id]) == (train_id, name)
    assert [value for value in range(183) if value not in values] == list(tiny.NEVER)
    assert len(tiny.IDS) == 171


def test_the_tiny_archive_has_the_published_fields() -> None:
    label = tiny.arrays("train", 0)[1]
    data = loadmat(io.BytesIO(tiny.mat(label)))
    assert {"S", "names", "captions", "regionMapStuff", "regionLabelsStuff"} <= set(data)
    assert data["names"].shape == (182, 1)
    assert np.array_equal(data["S"], label)


def test_archive_unpacks_to_the_folder(tmp_path: Path, folder: Path) -> None:
    archives = tiny.write_archives(tmp_path / "archives")
    found = unpack(archives, tiny.tiny_options(), tmp_path / "unpacked")
    assert found == files_in(folder)
    assert len(found) == 2 * 6 + 3


@pytest.mark.parametrize("place", ["coco-stuff-10k", "coco_stuff_10k", "coco-stuff-10k/cocostuff-10k-v1.1", "."])
@pytest.mark.parametrize("lists", ["imageLists", "imagesLists"])
def test_official_layout(tmp_path: Path, place: str, lists: str) -> None:
    folder = tiny.write_tree(tmp_path / "data" / place)
    (folder / "imageLists").rename(folder / lists)
    check(tmp_path / "data", folder, says="as unpacked; labels are the ids 0..182")


def check(root: Path, folder: Path, *, says: str) -> None:
    """Every pixel of every label, and a complete verification."""
    assert reader.locate(NAME, root) == folder
    assert reader.layout(NAME, folder).startswith(says)
    assert {finding.level for finding in reader.examine(NAME, folder)} == {"ok"}
    dataset = open_dataset(DataSpec(name=NAME, splits=("train", "test")), root=root)
    assert len(dataset) == 6
    assert dataset.key(0) == "train/COCO_train2014_000000000077"
    assert dataset.key(4) == "test/COCO_train2014_000000000078"
    for index, (split, number) in enumerate([("train", n) for n in range(4)] + [("test", n) for n in range(2)]):
        image, label = dataset.read(index)
        raw = tiny.arrays(split, number)[1]
        assert image.shape == (*raw.shape, 3)
        assert np.array_equal(label, expected(raw))
    assert verify(NAME, root, options=tiny.tiny_options()).folder == folder


@pytest.mark.parametrize(
    ("layout", "encode", "says"),
    [
        ("mmsegmentation", counted, "converted by mmsegmentation; labels are 0..171"),
        ("mmsegmentation", train_ids, "converted by mmsegmentation; labels are train ids"),
        ("mmsegmentation", ids, "converted by mmsegmentation; labels are the ids"),
        ("image", ids, "copied by ContrastiveSeg; labels are the ids"),
        ("images", ids, "copied by ContrastiveSeg; labels are the ids"),
        ("image", counted, "copied by ContrastiveSeg; labels are 0..171"),
        ("image", train_ids, "copied by ContrastiveSeg; labels are train ids"),
    ],
)
def test_other_layouts_and_encodings(
    folder: Path, layout: str, encode: Callable[[np.ndarray], np.ndarray], says: str
) -> None:
    rewrite(folder, encode=encode, layout=layout)
    check(folder.parent, folder, says=says)


def test_mat_files_are_taken_where_png_files_lie_beside_them(folder: Path) -> None:
    (folder / "annotations" / "train2014").mkdir()
    (folder / "annotations" / "test2014").mkdir()
    assert all(pair.label is not None and pair.label.suffix == ".mat" for pair in reader.pairs(NAME, folder, "train"))


@pytest.mark.parametrize("layout", ["mmsegmentation", "image"])
def test_182_outputs_and_the_large_sets_values_are_refused(folder: Path, layout: str) -> None:
    rewrite(folder, encode=less_one, layout=layout)
    assert "182 outputs" in reader.layout(NAME, folder)
    faults = [finding for finding in reader.examine(NAME, folder) if finding.level == "fault"]
    assert len(faults) == 2
    with pytest.raises(BrokenFile, match="182 outputs"):
        open_dataset(DataSpec(name=NAME), root=folder.parent).read(0)
    with pytest.raises(MissingFault, match="182 outputs"):
        verify(NAME, folder.parent, options=tiny.tiny_options())


def test_the_large_set_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / NAME
    (folder / "images" / "train2017").mkdir(parents=True)
    (folder / "annotations" / "train2017").mkdir(parents=True)
    assert reader.locate(NAME, tmp_path) == folder
    assert "164k" in reader.layout(NAME, folder)
    assert [finding.level for finding in reader.examine(NAME, folder)] == ["fault"]
    with pytest.raises(MissingFault, match="164k"):
        open_dataset(DataSpec(name=NAME), root=tmp_path)


def test_version_1_0_is_refused(folder: Path) -> None:
    """172 names, the first of them "unlabeled", and labels 1..172."""
    for split, count in tiny.COUNTS.items():
        for index in range(count):
            label = train_ids(tiny.arrays(split, index)[1])
            old = np.where(label == 255, 1, label + np.uint8(2)).astype(np.uint8)
            path = folder / "annotations" / f"{tiny.name_of(split, index)}.mat"
            path.write_bytes(tiny.mat(old, names=172))
    assert "version 1.0" in reader.layout(NAME, folder)
    assert [finding.level for finding in reader.examine(NAME, folder)] == ["fault"]
    with pytest.raises(BrokenFile, match=r"version 1\.0"):
        open_dataset(DataSpec(name=NAME), root=folder.parent).read(0)
    with pytest.raises(MissingFault, match=r"version 1\.0"):
        verify(NAME, folder.parent, options=tiny.tiny_options())


def test_without_lists_nothing_is_guessed(folder: Path) -> None:
    (folder / "imageLists" / "test.txt").unlink()
    assert len(reader.pairs(NAME, folder, "train")) == 4
    with pytest.raises(MissingFault, match=r"test\.txt is missing"):
        reader.pairs(NAME, folder, "test")
    shutil.rmtree(folder / "imageLists")
    with pytest.raises(MissingFault, match=r"train\.txt is missing"):
        open_dataset(DataSpec(name=NAME), root=folder.parent)


def test_mat_files_that_are_cut_off(folder: Path) -> None:
    """S comes first: a file that is cut off behind it has a whole label, and half a label is never taken."""
    path = folder / "annotations" / f"{tiny.name_of('train', 1)}.mat"
    data, outcomes = path.read_bytes(), []
    for length in range(0, len(data), len(data) // 40):
        path.write_bytes(data[:length])
        try:
            label = reader.label_reader(NAME)(path)
        except BrokenFile as error:
            assert error.path == path
            outcomes.append("refused")
        else:
            assert np.array_equal(label, tiny.arrays("train", 1)[1])
            outcomes.append("whole")
    assert outcomes == sorted(outcomes)
    assert outcomes.count("refused") > 10


def test_jpeg_that_is_cut_off(folder: Path) -> None:
    path = folder / "images" / f"{tiny.name_of('train', 0)}.jpg"
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(BrokenFile, match="cut off"):
        open_dataset(DataSpec(name=NAME), root=folder.parent).read(0)


def test_a_stray_value_in_counted_labels(folder: Path) -> None:
    rewrite(folder, encode=counted, layout="mmsegmentation")
    path = folder / "annotations" / "train2014" / f"{tiny.name_of('train', 2)}_labelTrainIds.png"
    label = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    dataset = open_dataset(DataSpec(name=NAME), root=folder.parent)
    dataset.read(2)  # the encoding of the folder is known from here on
    label[3, 4] = 200
    path.write_bytes(png(label))
    with pytest.raises(BrokenFile, match="label values 200"):
        open_dataset(DataSpec(name=NAME), root=folder.parent, ram_bytes=0).read(2)


@pytest.mark.parametrize(
    ("values", "default", "encoding"),
    [
        ({0, 1, 92, 182}, "counted", "ids"),
        ({0, 1, 12, 171}, "ids", "counted"),
        ({0, 1, 92}, "counted", "counted"),
        ({0, 1, 92}, "ids", "ids"),
        ({0, 12, 170, 255}, "ids", "train ids"),
        ({0, 170, 181, 255}, "counted", "ids less one"),
        ({0, 12, 182}, "ids", "mixed"),
        ({255}, "ids", "train ids"),
        (set(), "counted", "counted"),
    ],
)
def test_which_values_tell_what(values: set[int], default: Encoding, encoding: Encoding) -> None:
    assert tell(frozenset(values), default=default) == encoding


def test_the_encodings_agree_row_by_row() -> None:
    for value, train_id, _ in ROWS:
        assert lookup("ids")[value] == lookup("counted")[train_id + 1] == lookup("train ids")[train_id] == value
    assert lookup("ids")[0] == lookup("counted")[0] == lookup("train ids")[255] == 0
    assert not set(tiny.NEVER) & set(lookup("ids"))
