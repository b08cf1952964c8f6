"""PASCAL-Context from every form it is published in; the masks are the same, and nothing that a file says is run."""

import io
import json
import pickle
import shutil
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from segbench.core.errors import MissingFault, RunFault
from segbench.core.spec import DataSpec
from segbench.data import reader
from segbench.data.classes import class_table
from segbench.data.facts import facts
from segbench.data.images import BrokenFile
from segbench.data.open import open_dataset
from segbench.data.sets.pascal_context.detail import decode_runs
from segbench.data.sets.pascal_context.ids import IDS_59, to_values
from segbench.data.sets.pascal_context.masks import image_name, read_masks
from segbench.data.sets.pascal_context.reader import finish
from segbench.data.sets.pascal_context.unpack import unpack_masks
from segbench.data.verify import verify
from tests.data.official import pascal_context as tiny
from tests.data.official.ade20k import png
from tests.data.official.unpacked import files_in, unpack

NAME = "pascal-context"
LISTS, MASKS = "ImageSets/SegmentationContext", "SegmentationClassContext"
# value, id in the set of 459 classes, name: rows of the published list.
ROWS = [(1, 2, "aeroplane"), (6, 23, "bicycle"), (29, 187, "grass"), (37, 284, "person"), (47, 360, "sky"),
        (51, 415, "track"), (59, 458, "wood")]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder as segbench unpacks it, masks still in train.pth and val.pth."""
    return tiny.write_tree(tmp_path / "data" / NAME)


@pytest.fixture
def finished(folder: Path) -> Path:
    finish(folder)
    return folder


def check(root: Path, folder: Path) -> None:
    """Every pixel of every mask with 59 and with 60 classes, and a complete verification."""
    assert reader.locate(NAME, root) == folder
    for classes in ("pascal-context", "pascal-context-60"):
        dataset = open_dataset(DataSpec(name=NAME, splits=("train", "val"), classes=classes), root=root)
        assert [dataset.key(index) for index in range(len(dataset))] == [
            "train/2008_000123", "train/2009_000123", "train/2010_000123", "val/2008_000124", "val/2009_000124",
        ]  # fmt: skip
        for index, (split, number) in enumerate([("train", 0), ("train", 1), ("train", 2), ("val", 0), ("val", 1)]):
            values = tiny.arrays(split, number)[1].astype(int)
            image, label = dataset.read(index)
            assert image.shape == (*values.shape, 3)
            assert np.array_equal(label, values if classes.endswith("60") else np.where(values == 0, 255, values - 1))
    assert verify(NAME, root, options=tiny.tiny_options()).folder == folder


def masks_in(folder: Path) -> dict[str, np.ndarray]:
    return {
        path.stem: cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in sorted((folder / MASKS).glob("*.png"))
    }  # fmt: skip


def published() -> dict[str, np.ndarray]:
    """Every mask by name."""
    return {
        tiny.name_of(split, index): tiny.arrays(split, index)[1]
        for split, count in tiny.COUNTS.items()
        for index in range(count)
    }


def same(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> bool:
    return found.keys() == wanted.keys() and all(np.array_equal(found[name], wanted[name]) for name in wanted)


def test_facts() -> None:
    options = facts(NAME)
    assert options.splits == {"train": (4996, 4998), "val": (5104, 5105)}
    assert [archive.name for archive in options.archives] == [tiny.IMAGES, "train.pth", "val.pth"]
    assert "4,998" in options.notes[0]
    of_59, of_60 = class_table("pascal-context-59"), class_table("pascal-context-60")
    for value, id_459, name in ROWS:
        assert of_59.names[value - 1] == of_60.names[value] == name
        assert IDS_59[value - 1] == tiny.ID_OF[value] == id_459
    assert dict(of_59.values) == {0: 255, **{value: value - 1 for value in range(1, 60)}}
    assert dict(of_60.values) == {value: value for value in range(60)}
    assert list(IDS_59) == sorted(IDS_59) == tiny.ID_OF[1:]
    assert list(of_59.names) == sorted(of_59.names)  # ids and names are both in alphabetical order


def test_archives_unpack_to_the_folder(tmp_path: Path, folder: Path) -> None:
    archives = tiny.write_archives(tmp_path / "archives")
    found = unpack(archives, tiny.tiny_options(), tmp_path / "unpacked")
    assert found == files_in(folder)
    assert sorted(found)[:3] == ["ImageSets/Main/train.txt", "ImageSets/Main/val.txt", "JPEGImages/2007_000027.jpg"]


def ready(folder: Path) -> None:
    pass


def ready_zip(folder: Path) -> None:
    for split in tiny.COUNTS:
        (folder / f"{split}.pth").write_bytes(tiny.ready(split, as_zip=True))


def merged(folder: Path) -> None:
    ready_gone(folder)
    (folder / tiny.MERGED).write_bytes(tiny.merged())


def original(folder: Path) -> None:
    ready_gone(folder)
    for name, data in tiny.original().items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)


def ready_gone(folder: Path) -> None:
    for split in tiny.COUNTS:
        (folder / f"{split}.pth").unlink()


SOURCES: dict[str, tuple[Callable[[Path], None], str]] = {
    "ready": (ready, "train.pth and val.pth"),
    "ready, as torch writes today": (ready_zip, "train.pth and val.pth"),
    "merged": (merged, "trainval_merged.json"),
    "original": (original, "trainval/*.mat"),
}


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_makes_the_same_masks(folder: Path, source: str) -> None:
    change, says = SOURCES[source]
    change(folder)
    assert reader.layout(NAME, folder) == f"masks still packed in {says}"
    [finding] = reader.examine(NAME, folder)
    assert (finding.level, finding.fix) == ("fault", "segbench data prepare pascal-context")
    with pytest.raises(MissingFault, match="still packed") as caught:
        open_dataset(DataSpec(name=NAME), root=folder.parent)
    assert caught.value.next == "segbench data prepare pascal-context"

    finish(folder)
    assert same(masks_in(folder), published())
    assert (folder / LISTS / "train.txt").read_text() == "2008_000123\n2009_000123\n2010_000123\n"
    assert reader.layout(NAME, folder) == "as mmsegmentation has it; masks hold 0..59"
    check(folder.parent, folder)


@pytest.mark.parametrize(
    "place", ["pascal_context", "pascal-context/VOCdevkit/VOC2010", "VOCdevkit/VOC2010", "VOC2010", "."]
)
def test_mmsegmentations_layout(tmp_path: Path, place: str) -> None:
    folder = tiny.write_tree(tmp_path / "data" / place)
    finish(folder)
    ready_gone(folder)
    check(tmp_path / "data", folder)


def test_contrastivesegs_layout(tmp_path: Path) -> None:
    folder = tmp_path / "pascal_context"
    for split, count in tiny.COUNTS.items():
        for kind in ("image", "label"):
            (folder / split / kind).mkdir(parents=True)
        for index in range(count):
            name = tiny.name_of(split, index)
            jpeg = tiny.images()[f"VOCdevkit/VOC2010/JPEGImages/{name}.jpg"]
            (folder / split / "image" / f"{name}.jpg").write_bytes(jpeg)
            (folder / split / "label" / f"{name}.png").write_bytes(png(tiny.arrays(split, index)[1]))
    finish(folder)  # nothing is to be done
    check(tmp_path, folder)
    assert reader.layout(NAME, folder) == "copied by ContrastiveSeg; masks hold 0..59"


def test_masks_of_59_values_are_told_and_read_back(finished: Path) -> None:
    for path in (finished / MASKS).iterdir():
        values = published()[path.stem]
        path.write_bytes(png(values - np.uint8(1)))  # background becomes 255
    (finished / MASKS / "touched").touch()
    check(finished.parent, finished)
    assert reader.layout(NAME, finished).endswith("masks hold 0..58 with 255 for background")
    findings = {finding.kind: finding.level for finding in reader.examine(NAME, finished)}
    assert findings["encoding"] == "note"
    path = finished / MASKS / "2008_000123.png"
    values = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    values[2, 3] = 77
    path.write_bytes(png(values))
    with pytest.raises(BrokenFile, match="label values 77"):
        open_dataset(DataSpec(name=NAME), root=finished.parent).read(0)


def test_an_image_that_no_list_names_belongs_to_nothing(finished: Path) -> None:
    listed = [pair.image.stem for split in tiny.COUNTS for pair in reader.pairs(NAME, finished, split)]
    assert "2007_000027" not in listed
    assert (finished / "JPEGImages" / "2007_000027.jpg").is_file()


def test_voc_2010_alone_is_not_pascal_context(tmp_path: Path) -> None:
    (tmp_path / "VOCdevkit" / "VOC2010" / "JPEGImages").mkdir(parents=True)
    (tmp_path / "train.pth").write_bytes(b"a checkpoint of somebody")
    (tmp_path / "val.pth").write_bytes(b"")
    assert reader.locate(NAME, tmp_path) is None


def test_unpacking_goes_on_where_it_was_stopped(folder: Path) -> None:
    def stop(done: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unpack_masks(folder, progress=stop)
    assert len(masks_in(folder)) == 2
    assert not (folder / LISTS).exists()
    with pytest.raises(MissingFault, match="still packed"):
        reader.pairs(NAME, folder, "train")
    (folder / MASKS / ".2009_000123.png.x").write_bytes(b"left by a kill")
    assert unpack_masks(folder) == 3
    assert same(masks_in(folder), published())
    assert unpack_masks(folder) == 0


def test_a_folder_that_cannot_be_written(folder: Path) -> None:
    shutil.rmtree(folder / "ImageSets")
    (folder / "ImageSets").write_text("a file where the folder must be")
    with pytest.raises(RunFault, match="not a folder"):
        finish(folder)
    assert same(masks_in(folder), published())


def test_nothing_to_make_masks_of(folder: Path) -> None:
    ready_gone(folder)
    with pytest.raises(MissingFault, match="nothing that masks could be made of"):
        finish(folder)
    assert reader.layout(NAME, folder) == "unknown layout"
    assert reader.pairs(NAME, folder, "train") == []


def test_lists_that_are_missing(finished: Path) -> None:
    ready_gone(finished)
    (finished / LISTS / "val.txt").unlink()
    assert len(reader.pairs(NAME, finished, "train")) == 3
    with pytest.raises(MissingFault, match=r"val\.txt is missing"):
        reader.pairs(NAME, finished, "val")


def test_original_masks_need_the_lists_of_voc(folder: Path) -> None:
    original(folder)
    (folder / "ImageSets" / "Main" / "val.txt").unlink()
    with pytest.raises(MissingFault, match=r"val\.txt is missing"):
        finish(folder)


# What a hostile file may try. Each would leave a mark if it ran.


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function: object, *args: object) -> None:
        self.call = function, args

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.call


def stream(*objects: object, protocol: int = 2) -> bytes:
    """Pickles one after the other behind what every file of torch.save begins with."""
    head = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
    return b"".join(pickle.dumps(item, protocol) for item in (*head, *objects, []))


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("name", ["os.system", "builtins.eval", "builtins.getattr", "pathlib.Path.touch"])
@pytest.mark.parametrize("place", ["magic", "system", "value", "zip"])
def test_no_code_of_a_file_is_run(tmp_path: Path, protocol: int, name: str, place: str) -> None:
    import os

    mark = tmp_path / "mark"
    calls = {
        "os.system": Calls(os.system, f"touch {mark}"),
        "builtins.eval": Calls(eval, f"open({str(mark)!r}, 'w')"),
        "builtins.getattr": Calls(getattr, mark, "touch"),
        "pathlib.Path.touch": Calls(Path.touch, mark),
    }
    hostile = calls[name]
    path = tmp_path / "train.pth"
    if place == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", pickle.dumps({2008000123: hostile}, protocol))
    elif place == "value":
        path.write_bytes(stream({2008000123: hostile}, protocol=protocol))
    else:
        head = [0x1950A86A20F9469CFC6C, 1001, {}, {}, []]
        head[0 if place == "magic" else 2] = hostile
        path.write_bytes(b"".join(pickle.dumps(item, protocol) for item in head))
    with pytest.raises(MissingFault, match="which no file of masks needs; nothing of it was run"):
        list(read_masks(path))
    assert not mark.exists()
    pickle.loads(pickle.dumps(calls["os.system"], protocol))  # proof that such a pickle does run where it is let
    assert mark.exists()


def test_the_known_names_do_nothing_but_keep_data(tmp_path: Path) -> None:
    import _codecs

    path = tmp_path / "train.pth"
    path.write_bytes(stream({2008000123: Calls(_codecs.encode, "text", "rot13")}))
    with pytest.raises(MissingFault, match="another coding"):
        list(read_masks(path))
    state = b"}X\x08\x00\x00\x00__call__K\x01s"  # a dictionary to set an attribute by, as state and as slots
    names = (b"c_codecs\nencode\n", b"cPIL.Image\nImage\n", b"ccollections\nOrderedDict\n")
    for hostile in [name + given + b"b." for name in names for given in (state, b"(N" + state + b"t")]:
        path.write_bytes(stream()[: -len(pickle.dumps([], 2))] + b"\x80\x02" + hostile)
        with pytest.raises(MissingFault):
            list(read_masks(path))
    path.write_bytes(tiny.ready("train"))
    assert len(list(read_masks(path))) == 3  # the stand-ins are as they were


def test_tensors_are_no_masks(tmp_path: Path) -> None:
    for as_zip in (False, True):
        torch.save({2008000123: torch.zeros(3)}, tmp_path / "train.pth", _use_new_zipfile_serialization=as_zip)
        with pytest.raises(MissingFault, match="no file of masks"):
            list(read_masks(tmp_path / "train.pth"))


@pytest.mark.parametrize("as_zip", [False, True])
def test_every_prefix_of_a_mask_file_is_refused(tmp_path: Path, as_zip: bool) -> None:
    data = tiny.ready("val", as_zip=as_zip)
    path = tmp_path / "val.pth"
    whole = 0
    for length in range(0, len(data), 97):
        path.write_bytes(data[:length])
        try:
            assert same(dict(read_masks(path)), {name: mask for name, mask in published().items() if name[-1] == "4"})
            whole += 1
        except MissingFault as error:
            assert error.next == "segbench data download pascal-context --replace"
    assert whole <= 1  # the end of the old format lists tensors, of which there are none
    with pytest.raises(MissingFault, match="cannot be read"):
        list(read_masks(tmp_path / "none.pth"))


def test_masks_of_other_pillows_and_pythons(tmp_path: Path) -> None:
    """A PNG that was opened, a palette image, an ordered dictionary, and pickles as Python 2 wrote them."""
    mask = tiny.arrays("val", 0)[1]
    palette = Image.fromarray(mask)
    palette.putpalette(list(range(256)) * 3)
    opened = Image.open(io.BytesIO(png(mask)))
    path = tmp_path / "val.pth"
    torch.save(
        OrderedDict({2008000124: palette, 2009000124: opened}), path, _use_new_zipfile_serialization=False
    )  # fmt: skip
    assert same(dict(read_masks(path)), {"2008_000124": mask, "2009_000124": mask})
    old = b"\x80\x02}J" + (2008000124).to_bytes(4, "little") + b"cPIL.Image\nImage\n)\x81](}U\x01L"
    old += b"K\x03K\x02\x86NU\x06\x00\x01\x02\x03\x04\x3beb" + b"s."
    path.write_bytes(stream()[: -len(pickle.dumps([], 2))] + old)
    assert same(dict(read_masks(path)), {"2008_000124": np.array([[0, 1, 2], [3, 4, 59]], np.uint8)})


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ([{}, "L", (3, 2), None, b"\0" * 5], "3 x 2 pixels"),
        ([{}, "L", (0, 2), None, b""], "pixels"),
        ([{}, "L", (3.0, 2), None, b"\0" * 6], "no size"),
        ([{}, "RGB", (1, 2), None, b"\0" * 6], "neither a grey nor a palette"),
        ([{}, "L", (3, 2), None, b"\0\1\2\3\4\x3c"], "value 60"),
        ([{}, "L", (3, 2), None, "\u1234" * 6], "latin"),
        ([{}, "L"], "not whole"),
        ({"mode": "L"}, "not whole"),
    ],
)
def test_pictures_that_are_no_masks(tmp_path: Path, state: object, says: str) -> None:
    body = pickle.dumps(state, 4)[2:-1]  # without protocol and stop
    data = b"\x80\x04}J" + (2008000124).to_bytes(4, "little") + b"cPIL.Image\nImage\n)\x81" + body + b"bs."
    path = tmp_path / "val.pth"
    path.write_bytes(stream()[: -len(pickle.dumps([], 2))] + data)
    with pytest.raises(MissingFault, match=says):
        list(read_masks(path))


def test_other_things_in_place_of_masks(tmp_path: Path) -> None:
    path = tmp_path / "val.pth"
    mask = Image.fromarray(np.zeros((2, 3), np.uint8))
    for wrong in ([mask], {}, {"2008_000124": mask}, {124: mask}, {2008000124: 5}):
        path.write_bytes(stream(wrong))
        with pytest.raises(MissingFault):
            list(read_masks(path))
    path.write_bytes(pickle.dumps({2008000124: mask}))
    with pytest.raises(MissingFault, match=r"no file of torch\.save"):
        list(read_masks(path))
    assert image_name(2008000123) == "2008_000123"
    assert image_name(124) is image_name("2008000123") is image_name(-200800012) is None


def test_original_ids_against_the_published_rows() -> None:
    ids = np.array([[id_459 for _, id_459, _ in ROWS] + [0, 1, 3, 457, 459]], np.uint16)
    assert to_values(ids).tolist() == [[value for value, _, _ in ROWS] + [0] * 5]
    for wrong in ([[460]], [[-1]], [[2.5]]):
        with pytest.raises(ValueError, match="whole numbers"):
            to_values(np.array(wrong))


def test_run_lengths_by_hand() -> None:
    # [2 3 1 1] of COCO's own explanation, column by column in 7 x 1: the last run is 1 - 3 = -2, digit 30 with its sign
    assert decode_runs("231N", 7, 1).ravel().astype(int).tolist() == [0, 0, 1, 1, 1, 0, 1]
    assert decode_runs([2, 3, 1, 1], 7, 1).ravel().astype(int).tolist() == [0, 0, 1, 1, 1, 0, 1]
    assert decode_runs("061", 7, 1).ravel().astype(int).tolist() == [1, 1, 1, 1, 1, 1, 0]
    # 100 = 4 + 3 * 32: digit 4 with another to follow (4 + 32 + 48), digit 3; 16 would be read as -16 without a third
    assert decode_runs("T3T3", 20, 10).sum() == 100
    assert decode_runs("`0", 4, 4).sum() == 0
    assert decode_runs("141", 2, 3).astype(int).tolist() == [[0, 1, 1], [1, 1, 0]]
    for wrong, says in (("231", "do not make"), ("T", "cut off"), ("2\x1f", "sign"), ("O8", "do not make")):
        with pytest.raises(ValueError, match=says):
            decode_runs(wrong, 7, 1)


def test_run_lengths_of_random_regions() -> None:
    rng = np.random.default_rng(3)
    for density in (0.001, 0.02, 0.5, 0.98):
        for _ in range(20):
            region = rng.random((int(rng.integers(1, 80)), int(rng.integers(1, 80)))) < density
            assert np.array_equal(decode_runs(tiny.run_lengths(region), *region.shape), region)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda data: data.pop("images"), "no merged file"),
        (lambda data: data["images"][0].pop("phase"), "no merged file"),
        (lambda data: data["annos_segmentation"][0].update(category_id=460), "whole numbers"),
        (lambda data: data["annos_segmentation"][0]["segmentation"].update(counts="231N"), "do not make"),
        (lambda data: data["images"][0].update(height="tall"), "2008_000123"),
    ],
)
def test_merged_files_that_are_none(folder: Path, change: Callable[[dict], None], says: str) -> None:
    merged(folder)
    data = json.loads(tiny.merged())
    change(data)
    (folder / tiny.MERGED).write_text(json.dumps(data))
    with pytest.raises(MissingFault, match=says):
        finish(folder)


def test_merged_file_that_is_cut_off(folder: Path) -> None:
    merged(folder)
    (folder / tiny.MERGED).write_bytes(tiny.merged()[:-20])
    with pytest.raises(MissingFault, match="cut off"):
        finish(folder)


def test_later_regions_are_drawn_over_earlier_ones(folder: Path) -> None:
    merged(folder)
    data = json.loads(tiny.merged())
    first = data["annos_segmentation"][0]["image_id"]
    image = next(image for image in data["images"] if image["image_id"] == first)
    everywhere = tiny.run_lengths(np.ones((image["height"], image["width"]), bool))
    data["annos_segmentation"].append(
        {"image_id": first, "category_id": 360, "segmentation": {"counts": everywhere}}
    )  # fmt: skip
    (folder / tiny.MERGED).write_text(json.dumps(data))
    finish(folder)
    assert (masks_in(folder)["2008_000123"] == 47).all()


def test_mat_with_ids_that_are_none(folder: Path) -> None:
    from scipy.io import savemat

    original(folder)
    savemat(folder / "trainval" / "2008_000123.mat", {"LabelMap": np.full((4, 4), 460, np.uint16)})
    with pytest.raises(MissingFault, match=r"2008_000123\.mat: ids must be"):
        finish(folder)
    savemat(folder / "trainval" / "2008_000123.mat", {"Other": np.zeros((4, 4))})
    with pytest.raises(MissingFault, match="LabelMap"):
        finish(folder)


@pytest.mark.parametrize("place", [f"{MASKS}/2009_000123.png", "JPEGImages/2009_000123.jpg"])
@pytest.mark.parametrize("keep", [0.0, 0.5, 0.98])
def test_files_that_are_cut_off(finished: Path, place: str, keep: float) -> None:
    data = (finished / place).read_bytes()
    (finished / place).write_bytes(data[: int(keep * len(data))])
    with pytest.raises(BrokenFile) as caught:
        open_dataset(DataSpec(name=NAME), root=finished.parent).read(1)
    assert caught.value.path == finished / place


def test_one_of_the_counts_is_named(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from segbench.data.sets.pascal_context import reader as module

    monkeypatch.setattr(module, "_COUNTS", {(3, 2): "those that papers print"})
    assert "those that papers print" in next(
        finding.text for finding in reader.examine(NAME, finished) if finding.kind == "counts"
    )
    shutil.rmtree(finished)
    assert reader.locate(NAME, finished.parent) is None
