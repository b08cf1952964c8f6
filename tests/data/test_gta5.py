"""GTA5 from tiny official archives: palettes, split.mat, converted labels, and pairs that do not fit together."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from segbench.core.errors import MissingFault
from segbench.core.spec import DataSpec
from segbench.data import reader
from segbench.data.classes import class_table
from segbench.data.facts import facts
from segbench.data.images import BrokenFile
from segbench.data.open import open_dataset
from segbench.data.places import cache_root
from segbench.data.sets.gta5.left_out import LeftOut, image_of, left_out
from segbench.data.verify import verify
from tests.data.official import gta5 as tiny
from tests.data.official.unpacked import files_in, unpack

NAME, EVERYTHING = "gta5", "trainvaltest"
# Cityscapes id to train id, from the published table; every other id is ignored.
TRAIN_ID = {7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12, 26: 13, 27: 14,
            28: 15, 31: 16, 32: 17, 33: 18}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny.write_tree(tmp_path / "data" / NAME)


def expected(frame: int) -> np.ndarray:
    """Train ids of a frame; nothing but ignored where label and image do not fit together."""
    image, label = tiny.arrays(frame)
    if frame == tiny.MISMATCHED:
        return np.full(image.shape[:2], 255, np.uint8)
    return np.array([[TRAIN_ID.get(int(value), 255) for value in row] for row in label], np.uint8)


def as_coloured(frame: int) -> np.ndarray:
    """Train ids as colours tell them: licence plates are cars, groups of poles are poles."""
    label = tiny.arrays(frame)[1]
    return np.where(label == tiny.PLATE, 13, np.where(label == 18, 5, expected(frame)))


def check(root: Path, folder: Path, *, by_colour: bool = False) -> None:
    """Every pixel of every label."""
    assert reader.locate(NAME, root) == folder
    dataset = open_dataset(DataSpec(name=NAME, splits=(EVERYTHING,)), root=root)
    assert len(dataset) == len(tiny.FRAMES)
    for index, frame in enumerate(tiny.FRAMES):
        assert dataset.key(index) == f"trainvaltest/{frame:05d}"
        image, label = dataset.read(index)
        wanted = expected(frame)
        if by_colour and frame != tiny.MISMATCHED:
            wanted = as_coloured(frame)
        assert np.array_equal(image, tiny.arrays(frame)[0])
        assert np.array_equal(label, wanted)


def to_train_ids(folder: Path, *, ignored: int, suffix: str, only: tuple[int, ...] = tiny.FRAMES) -> None:
    """Grey files of train ids; beside the labels, or in their place if there is no suffix."""
    for path in sorted((folder / "labels").rglob("?????.png")):
        if int(path.stem) in only:
            label = tiny.arrays(int(path.stem))[1]
            ids = np.array([[TRAIN_ID.get(int(value), ignored) for value in row] for row in label], np.uint8)
            path.with_name(f"{path.stem}{suffix}.png").write_bytes(tiny.png(ids))


def translate(folder: Path, *, only: tuple[int, ...] = tiny.FRAMES) -> None:
    """What SemiSeg-Contrastive's utils/translate_labels.py leaves: 19 colours matched, the rest 250, in place."""
    for path in sorted((folder / "labels").rglob("?????.png")):
        if int(path.stem) in only:
            picture = cv2.imread(str(path))[..., ::-1].astype(int)
            found = np.full(picture.shape[:2], 250, np.uint8)
            for value, train_id in TRAIN_ID.items():
                found[(picture == tiny.PALETTE[value]).all(axis=2)] = train_id
            path.write_bytes(tiny.png(found))


def into_folders(folder: Path) -> None:
    """Any two thirds of the frames into ``train``, the rest into ``val``, as a user may have done."""
    for kind in ("images", "labels"):
        for path in sorted((folder / kind).glob("*.png")):
            part = "train" if int(path.stem[:5]) % 3 else "val"
            (folder / kind / part).mkdir(exist_ok=True)
            path.rename(folder / kind / part / path.name)


def test_facts() -> None:
    options = facts(NAME)
    assert options.splits["trainvaltest"] == (24966,)
    assert sum(options.splits[part][0] for part in ("train", "val", "test")) == 24966
    assert options.native_size is None
    assert len(options.archives) == 21
    assert [archive.name for archive in options.archives[:3]] == ["01_images.zip", "01_labels.zip", "02_images.zip"]
    assert options.archives[19].urls[0].endswith("/data/10_labels.zip")
    values = dict(class_table(NAME).values)
    assert values == {value: TRAIN_ID.get(value, 255) for value in range(35)}


def test_archives_unpack_to_the_folder(tmp_path: Path, folder: Path) -> None:
    archives = tiny.write_archives(tmp_path / "archives")
    found = unpack(archives, tiny.tiny_options(), tmp_path / "unpacked")
    assert found == files_in(folder)
    assert len(found) == 41


def test_labels_are_palette_files_of_ids(folder: Path) -> None:
    path = folder / "labels" / "00003.png"
    assert path.read_bytes()[25] == 3  # colour type of the PNG header
    assert np.array_equal(reader.label_reader(NAME)(path), tiny.arrays(3)[1])


@pytest.mark.parametrize("place", ["gta5", "GTA5", "gta", "."])
def test_official_layout(tmp_path: Path, place: str) -> None:
    folder = tiny.write_tree(tmp_path / "data" / place)
    check(tmp_path / "data", folder)
    assert reader.layout(NAME, folder).startswith(
        "as unpacked, with split.mat; labels are Cityscapes ids with a palette"
    )
    verified = verify(NAME, tmp_path / "data", options=tiny.tiny_options())
    assert any("00007 (label 42x62, image 41x62)" in note for note in verified.notes)


def test_parts_are_what_split_mat_says(folder: Path) -> None:
    for part, frames in tiny.SPLITS.items():
        assert [pair.key for pair in reader.pairs(NAME, folder, part)] == [f"{part}/{frame:05d}" for frame in frames]
    (folder / "images" / "00003.png").unlink()
    (folder / "labels" / "00003.png").unlink()
    named = reader.pairs(NAME, folder, "train")[1]
    assert (named.image, named.label) == (folder / "images" / "00003.png", folder / "labels" / "00003.png")
    assert len(reader.pairs(NAME, folder, EVERYTHING)) == 19


def test_without_split_mat_there_is_only_everything(tmp_path: Path) -> None:
    folder = tiny.write_tree(tmp_path / NAME, mapping=False)
    check(tmp_path, folder)
    assert [reader.pairs(NAME, folder, part) for part in tiny.SPLITS] == [[], [], []]
    assert reader.layout(NAME, folder).startswith("as unpacked, without split.mat")
    [finding] = [finding for finding in reader.examine(NAME, folder) if finding.kind == "split"]
    assert (finding.level, finding.fix) == ("note", "segbench data download gta5 --split train")
    verified = verify(NAME, tmp_path, options=tiny.tiny_options())
    assert verified.folder == folder
    with pytest.raises(MissingFault, match="no images of val"):
        open_dataset(DataSpec(name=NAME, splits=("val",)), root=tmp_path)


@pytest.mark.parametrize("number", [0.0, 24967.0, 1.5, float("nan")])
def test_split_mat_that_is_none(folder: Path, number: float) -> None:
    savemat(folder / "split.mat", {"trainIds": np.array([[1.0], [number]])})
    with pytest.raises(BrokenFile, match="none of frames"):
        reader.pairs(NAME, folder, "train")
    with pytest.raises(BrokenFile, match="valIds"):
        reader.pairs(NAME, folder, "val")
    (folder / "split.mat").write_bytes(b"MATLAB")
    with pytest.raises(BrokenFile, match="MATLAB"):
        reader.pairs(NAME, folder, "train")


def test_folders_only_say_where_a_frame_lies(folder: Path) -> None:
    into_folders(folder)
    check(folder.parent, folder)
    assert reader.layout(NAME, folder).startswith("folders train and val, with split.mat")
    listed = reader.pairs(NAME, folder, "train")
    assert [pair.image.stem for pair in listed] == [f"{frame:05d}" for frame in tiny.SPLITS["train"]]
    assert {pair.image.parent.name for pair in listed} == {"train", "val"}
    assert all(path.is_file() for pair in listed for path in pair.files)


def test_daformers_files_beside_the_labels_change_nothing(folder: Path) -> None:
    to_train_ids(folder, ignored=255, suffix="_labelTrainIds")
    check(folder.parent, folder)
    pairs = reader.pairs(NAME, folder, EVERYTHING)
    assert all(pair.label is not None and len(pair.label.stem) == 5 for pair in pairs)


def test_daformers_files_alone_are_read_back(folder: Path) -> None:
    to_train_ids(folder, ignored=255, suffix="_labelTrainIds")
    for path in (folder / "labels").glob("?????.png"):
        path.unlink()
    check(folder.parent, folder)
    assert "train ids (labelTrainIds.png)" in reader.layout(NAME, folder)


@pytest.mark.parametrize("folders", [False, True])
def test_labels_translated_in_place_are_read_and_said(folder: Path, folders: bool) -> None:
    if folders:
        into_folders(folder)
    translate(folder)
    check(folder.parent, folder, by_colour=True)
    assert "translated in place by SemiSeg-Contrastive" in reader.layout(NAME, folder)
    [finding] = [finding for finding in reader.examine(NAME, folder) if finding.kind == "encoding"]
    assert finding.level == "note"
    assert "licence plates count as cars" in finding.text


def test_a_translation_that_was_stopped_half_way(folder: Path) -> None:
    translate(folder, only=tiny.FRAMES[:5])
    dataset = open_dataset(DataSpec(name=NAME, splits=(EVERYTHING,)), root=folder.parent)
    assert np.array_equal(dataset.read(1)[1], as_coloured(2))
    assert np.array_equal(dataset.read(9)[1], expected(10))
    kinds = [finding.level for finding in reader.examine(NAME, folder) if finding.kind == "encoding"]
    assert sorted(kinds) == ["note", "ok"]


def test_ids_without_their_palette(folder: Path) -> None:
    for path in (folder / "labels").iterdir():
        path.write_bytes(tiny.png(tiny.arrays(int(path.stem))[1]))
    check(folder.parent, folder)
    assert "Cityscapes ids without their palette" in reader.layout(NAME, folder)


def test_colours_are_refused(folder: Path) -> None:
    for path in (folder / "labels").iterdir():
        colours = np.array(tiny.PALETTE, np.uint8)[tiny.arrays(int(path.stem))[1]]
        path.write_bytes(tiny.png(colours))
    assert [finding.level for finding in reader.examine(NAME, folder) if finding.kind == "encoding"] == ["fault"]
    with pytest.raises(BrokenFile, match="colour image"):
        open_dataset(DataSpec(name=NAME, splits=(EVERYTHING,)), root=folder.parent).read(0)
    with pytest.raises(MissingFault):
        verify(NAME, folder.parent, options=tiny.tiny_options())


def test_pairs_of_different_sizes_are_listed_and_written_down(folder: Path) -> None:
    pairs = reader.pairs(NAME, folder, EVERYTHING)
    found = [LeftOut("trainvaltest/00007", (41, 62), (42, 62))]
    assert left_out(folder, pairs) == found
    [path] = (cache_root() / "left-out").glob("gta5-*.json")
    assert json.loads(path.read_text())["pairs"] == [["trainvaltest/00007", [41, 62], [42, 62]]]
    assert left_out(folder, pairs) == found  # remembered now
    (folder / "labels" / "00009.png").unlink()
    (folder / "labels" / "00009.png").write_bytes(tiny.png(tiny.arrays(9)[1][:, :-2]))
    assert [one.key for one in left_out(folder, pairs)] == ["trainvaltest/00007", "trainvaltest/00009"]
    [finding] = [finding for finding in reader.examine(NAME, folder) if finding.kind == "left out"]
    assert finding.level == "note"
    assert "00009 (label 41x60, image 41x62)" in finding.text
    path.write_text("no JSON")
    assert len(left_out(folder, pairs)) == 2


def test_images_of_labels(tmp_path: Path) -> None:
    assert image_of(tmp_path / "labels" / "00001.png") == tmp_path / "images" / "00001.png"
    assert image_of(tmp_path / "labels" / "00001_labelTrainIds.png") == tmp_path / "images" / "00001.png"
    assert image_of(tmp_path / "labels" / "val" / "00001.png") == tmp_path / "images" / "val" / "00001.png"


@pytest.mark.parametrize("kind", ["images", "labels"])
@pytest.mark.parametrize("keep", [0.0, 0.5, 0.99])
def test_files_that_are_cut_off(folder: Path, kind: str, keep: float) -> None:
    path = folder / kind / "00002.png"
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data))])
    with pytest.raises(BrokenFile) as caught:
        open_dataset(DataSpec(name=NAME, splits=(EVERYTHING,)), root=folder.parent).read(1)
    assert caught.value.path == path
