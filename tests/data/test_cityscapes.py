"""Cityscapes from tiny archives in the official form, held to cityscapesScripts and torchvision."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from cityscapesscripts.helpers import labels as official_labels
from cityscapesscripts.helpers.annotation import Annotation
from cityscapesscripts.preparation.json2instanceImg import createInstanceImage
from cityscapesscripts.preparation.json2labelImg import createLabelImage
from torchvision.datasets import Cityscapes

from segbench.core.archive import extract
from segbench.core.errors import MissingFault
from segbench.core.spec import DataSpec
from segbench.data.classes import class_table
from segbench.data.facts import facts, member_path
from segbench.data.images import BrokenFile, read_image, read_instances
from segbench.data.open import open_dataset
from segbench.data.reader import Finding
from segbench.data.sets.cityscapes import reader
from segbench.data.sets.cityscapes.labels import Label, average_instance_size, labels, train_id_to_id
from segbench.data.verify import verify
from tests.data.official import cityscapes as tiny
from tests.data.status import data_status

NAME = "cityscapes"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Data root with a tiny Cityscapes as segbench unpacks it."""
    tiny.write_tree(tmp_path / "data" / NAME)
    return tmp_path / "data"


def annotation(split: str, frame: str, folder: Path) -> Annotation:
    """The polygons of a frame as the official tools read them."""
    path = folder / "polygons.json"
    city = frame.split("_")[0]
    path.write_bytes(tiny.archives()[tiny.LABELS][f"gtFine/{split}/{city}/{frame}_gtFine_polygons.json"])
    found = Annotation()
    found.fromJsonFile(str(path))
    return found


def add_train_ids(folder: Path, scratch: Path, *, remove_ids: bool) -> None:
    """What cityscapesScripts' ``csCreateTrainIdLabelImgs`` adds, made by its own function."""
    for split, frame in tiny.frames():
        if split != "test":
            ids = folder / "gtFine" / split / frame.split("_")[0] / f"{frame}_gtFine_labelIds.png"
            drawn = createLabelImage(annotation(split, frame, scratch), "trainIds")
            drawn.save(ids.with_name(f"{frame}_gtFine_labelTrainIds.png"))
            if remove_ids:
                ids.unlink()


# -- labels and class tables ------------------------------------------------------------------------------------------


def test_labels_are_the_official_ones() -> None:
    fields = {field.replace("_", ""): field for field in Label.__dataclass_fields__}
    assert len(labels()) == len(official_labels.labels) == 35
    for own, official in zip(labels(), official_labels.labels, strict=True):
        for name, value in official._asdict().items():
            assert getattr(own, fields[name.lower()]) == value
    for train_id in range(19):
        assert train_id_to_id()[train_id] == official_labels.trainId2label[train_id].id
    assert not train_id_to_id()[19:].any()


def test_average_sizes_are_the_evaluators(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, "in1d", np.isin, raising=False)  # what newer numpy calls it
    from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as evaluator

    assert average_instance_size() == evaluator.args.avgClassSize


def test_both_class_tables() -> None:
    plain, with_void = class_table("cityscapes"), class_table("cityscapes-20")
    assert class_table("cityscapes-20-void") is with_void
    assert with_void.names == ("void", *plain.names)
    ids = np.arange(34, dtype=np.uint8)
    for one in official_labels.labels[:-1]:
        assert plain.to_train_ids(ids)[one.id] == one.trainId
        assert with_void.to_train_ids(ids)[one.id] == (0 if one.ignoreInEval else one.trainId + 1)
    for table in (plain, with_void):
        with pytest.raises(ValueError, match="34, 255"):
            table.to_train_ids(np.array([34, 255, 7], np.uint8))


# -- reading ----------------------------------------------------------------------------------------------------------


def test_the_tiny_archives_are_what_the_official_tools_draw(tmp_path: Path) -> None:
    for split, frame in tiny.frames():
        drawn = annotation(split, frame, tmp_path)
        _, ids, instances = tiny.arrays(frame)
        assert np.array_equal(np.asarray(createLabelImage(drawn, "ids")), ids)
        assert np.array_equal(np.asarray(createInstanceImage(drawn, "ids")), instances)
        assert set(np.unique(ids)) == set(range(34))
        assert 26 in instances and instances.max() > 26_000  # a group, and single ones


LAYOUTS: dict[str, tuple[str, Callable[[Path, Path], object]]] = {
    "as unpacked; labels are label ids": (NAME, lambda folder, scratch: None),
    "each archive in its own folder; labels are label ids": (
        "Cityscapes",
        lambda folder, scratch: [
            (folder / f"{kind}_trainvaltest").mkdir() or (folder / kind).rename(folder / f"{kind}_trainvaltest" / kind)
            for kind in ("leftImg8bit", "gtFine")
        ],
    ),
    "as unpacked; labels are label ids (beside train ids)": (
        NAME,
        lambda folder, scratch: add_train_ids(folder, scratch, remove_ids=False),
    ),
    "as unpacked; labels are train ids (labelTrainIds.png), read back as ids": (
        ".",
        lambda folder, scratch: add_train_ids(folder, scratch, remove_ids=True),
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_holds_the_same(tmp_path: Path, layout: str) -> None:
    where, change = LAYOUTS[layout]
    root = tmp_path / "data"
    change(tiny.write_tree(root / where), tmp_path)
    assert verify(NAME, root, options=tiny.tiny_options()).folder == root / where
    assert data_status(NAME, root, options=tiny.tiny_options()) == "ready"
    assert reader.layout(root / where) == layout.split(" (beside")[0]
    spec = DataSpec(name=NAME, splits=("train", "val", "test"))
    for classes in ("cityscapes", "cityscapes-20"):
        dataset = open_dataset(spec.model_copy(update={"classes": classes}), root=root)
        assert [dataset.key(i) for i in range(len(dataset))] == [f"{split}/{frame}" for split, frame in tiny.frames()]
        for index, (split, frame) in enumerate(tiny.frames()):
            image, ids, _ = tiny.arrays(frame)
            seen, label = dataset.read(index)
            assert np.array_equal(seen, image)
            by_hand = np.array([one.trainId for one in official_labels.labels[:-1]])[ids]
            if classes == "cityscapes-20":
                by_hand = np.where(by_hand == 255, 0, by_hand + 1)
            assert (label == 255).all() if split == "test" else np.array_equal(label, by_hand)


def test_torchvision_reads_the_same(root: Path) -> None:
    for split in ("train", "val"):
        theirs = Cityscapes(str(root / NAME), split=split, target_type=["semantic", "instance"])
        images = {Path(path).name: index for index, path in enumerate(theirs.images)}
        pairs = reader.pairs(root / NAME, split)
        assert len(theirs) == len(pairs)
        for pair in pairs:
            image, (ids, instances) = theirs[images[pair.image.name]]
            assert pair.label is not None and pair.instances is not None
            assert np.array_equal(read_image(pair.image), np.asarray(image))
            assert np.array_equal(reader.read_label(pair.label), np.asarray(ids))
            assert np.array_equal(read_instances(pair.instances), np.asarray(instances))


def test_order_is_by_city_then_name(root: Path) -> None:
    images = root / NAME / "leftImg8bit" / "train"
    (images / "aachen" / "aachen_000000_000019_leftImg8bit.png").rename(
        images / "aachen" / "aachen_000173_000019_leftImg8bit.png"
    )
    keys = [pair.key for pair in reader.pairs(root / NAME, "train")]
    assert keys == sorted(keys) and keys[-1].startswith("train/zurich")
    assert "train/aachen_000173_000019" in keys  # without a label
    assert "train/aachen_000000_000019" in keys  # without an image


def test_dummy_labels_of_test_are_never_taken(tmp_path: Path) -> None:
    for name, members in tiny.archives().items():
        for member, data in members.items():
            (tmp_path / NAME / member).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / NAME / member).write_bytes(data)
        assert any("gtFine/test/" in member for member in members) == (name == tiny.LABELS)
    pairs = reader.pairs(tmp_path / NAME, "test")
    assert len(pairs) == 2 and all(pair.label is None and pair.instances is None for pair in pairs)


def test_archives_unpack_to_what_is_wanted(tmp_path: Path) -> None:
    paths = tiny.write_archives(tmp_path / "archives")
    assert list(paths) == [archive.name for archive in facts(NAME).archives]
    for archive in facts(NAME).archives:
        target = tmp_path / archive.name.split("_")[0]
        extract(paths[archive.name], target, select=lambda name, one=archive: member_path(one, name), max_bytes=10**6)
        for path in target.rglob("*.png"):
            (tmp_path / "whole" / path.relative_to(target)).parent.mkdir(parents=True, exist_ok=True)
            path.rename(tmp_path / "whole" / path.relative_to(target))
    tiny.write_tree(tmp_path / "tree")
    trees = [{path.relative_to(tmp_path / top): path.read_bytes() for path in (tmp_path / top).rglob("*.png")}
             for top in ("whole", "tree")]  # fmt: skip
    assert trees[0] == trees[1]
    assert len(trees[0]) == 9 + 2 * 7  # images, and ids and instances of train and val
    assert all(archive.account == NAME and set(archive.checksums) == {"sha1"} for archive in facts(NAME).archives)


def test_the_archives_are_the_same_every_time(tmp_path: Path) -> None:
    first, second = tiny.write_archives(tmp_path / "a"), tiny.write_archives(tmp_path / "b")
    assert all(first[name].read_bytes() == second[name].read_bytes() for name in first)


# -- what can be wrong ------------------------------------------------------------------------------------------------


def findings(root: Path, level: str) -> list[Finding]:
    return [finding for finding in reader.examine(root / NAME) if finding.level == level]


def test_official_cities_add_up() -> None:
    sums = {split: sum(cities.values()) for split, cities in reader.official_cities().items()}
    assert sums == {split: counts[0] for split, counts in facts(NAME).splits.items()}
    assert [len(cities) for cities in reader.official_cities().values()] == [18, 3, 6]


def test_examine_compares_with_the_official_cities(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, *_ = findings(root, "note")
    assert first.text == (
        "train: cities with other numbers of images than in the official list: aachen 3 of 174, bochum 0 of 96, "
        "bremen 0 of 316, cologne 0 of 154, darmstadt 0 of 85, and 13 more."
    )
    assert not findings(root, "fault")
    monkeypatch.setattr(reader, "official_cities", lambda: tiny.CITIES)
    assert len(findings(root, "ok")) == 3 and not findings(root, "note")
    monkeypatch.setattr(reader, "official_cities", lambda: tiny.CITIES | {"train": {"aachen": 2, "zurich": 3}})
    (fault,) = findings(root, "fault")  # the sum is right, which a count alone would not tell
    assert "aachen 3 of 2, zurich 2 of 3" in fault.text


def test_cities_in_the_wrong_split(root: Path) -> None:
    images = root / NAME / "leftImg8bit"
    (images / "train" / "zurich").rename(images / "val" / "zurich")
    (images / "val" / "foggy").mkdir()
    texts = [finding.text for finding in findings(root, "fault") if finding.kind == "city"]
    assert texts == [
        "val/foggy with 0 images is no city of Cityscapes; move it out of val.",
        "val/zurich with 2 images belongs to train; move it out of val.",
    ]


def test_halves_and_instances(root: Path) -> None:
    folder = root / NAME
    (folder / "gtFine" / "train" / "aachen" / "aachen_000001_000019_gtFine_labelIds.png").unlink()
    (folder / "leftImg8bit" / "val" / "frankfurt" / "frankfurt_000000_000019_leftImg8bit.png").unlink()
    (folder / "gtFine" / "train" / "zurich" / "zurich_000000_000019_gtFine_instanceIds.png").unlink()
    faults = {finding.text for finding in findings(root, "fault")}
    assert faults == {
        "train: images without label in gtFine: 1, the first is train/aachen_000001_000019.",
        "val: labels without image in leftImg8bit: 1, the first is val/frankfurt_000000_000019.",
    }
    assert "train: images without instanceIds.png: 1 of 5; the iIoU needs all of them." in {
        finding.text for finding in findings(root, "note")
    }
    with pytest.raises(MissingFault) as caught:
        verify(NAME, root, options=tiny.tiny_options())
    assert "aachen_000001_000019_gtFine_labelIds.png" in "".join(caught.value.faults)


def test_one_archive_of_two(root: Path) -> None:
    import shutil

    shutil.rmtree(root / NAME / "gtFine")
    assert reader.locate(root) == root / NAME
    assert "train: images without label in gtFine: 5" in findings(root, "fault")[0].text
    shutil.rmtree(root / NAME / "leftImg8bit")
    assert reader.locate(root) == root / NAME  # the folder is there
    assert all(reader.pairs(root / NAME, split) == [] for split in tiny.CITIES)
    (root / NAME).rmdir()
    assert reader.locate(root) is None
    with pytest.raises(MissingFault, match=r"cityscapes-dataset.com"):
        open_dataset(DataSpec(name=NAME), root=root)


def png(array: np.ndarray) -> bytes:
    return cv2.imencode(".png", array)[1].tobytes()


BAD = {
    "colour": (lambda ids: png(np.dstack([ids] * 3)), "is a colour image of 8 bits, not a grey 8-bit label image"),
    "16 bits": (lambda ids: png(ids.astype(np.uint16)), "is a grey image of 16 bits, not a grey 8-bit label image"),
    "cut off": (lambda ids: png(ids)[:-30], "is cut off"),
    "size": (lambda ids: png(ids[:-1]), "31x64"),
    "value": (lambda ids: png(np.where(ids == 33, 34, ids).astype(np.uint8)), "34"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_labels(root: Path, kind: str) -> None:
    make, text = BAD[kind]
    path = reader.pairs(root / NAME, "train")[0].label
    assert path is not None
    path.write_bytes(make(tiny.arrays(tiny.frames()[0][1])[1]))
    with pytest.raises(MissingFault) as caught:
        open_dataset(DataSpec(name=NAME), root=root).read(0)
    assert str(path) in caught.value.faults[0] and text in caught.value.faults[0]
    with pytest.raises(MissingFault) as caught:
        verify(NAME, root, options=tiny.tiny_options())
    assert str(path) in "".join(caught.value.faults) and text in "".join(caught.value.faults)


def test_train_ids_that_are_none(root: Path, tmp_path: Path) -> None:
    """Value 19 of a file of train ids would be a traffic light if it were taken for a label id."""
    path = tmp_path / "aachen_000000_000019_gtFine_labelTrainIds.png"
    path.write_bytes(png(np.array([[0, 18, 255], [19, 19, 250]], np.uint8)))
    with pytest.raises(BrokenFile, match=r"has train ids 19, 250; allowed are 0..18 and 255"):
        reader.read_label(path)
    path.write_bytes(png(np.array([[0, 5, 18, 255]], np.uint8)))
    assert reader.read_label(path).tolist() == [[7, 17, 33, 0]]


def test_polygons_and_colours_lie_in_the_archive_and_stay_there(root: Path) -> None:
    members = tiny.archives()[tiny.LABELS]
    plates = [name for name, data in members.items() if name.endswith(".json") and b"license plate" in data]
    assert len(plates) == 9 and json.loads(members[plates[0]])["imgWidth"] == 64
    assert {path.suffix for path in (root / NAME).rglob("*") if path.is_file()} == {".png"}
    assert not list(root.rglob("*_color.png"))
