"""Data sets of the user's own: what a ``dataset.yaml`` may say, and that they are then like all others."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from segbench.core import registry
from segbench.core.errors import InvalidFault, MissingFault, UsageFault
from segbench.core.spec import DataSpec
from segbench.data.classes import ClassEntry, ClassTable, add_table, class_table, remove_table, table_names
from segbench.data.facts import facts
from segbench.data.open import open_dataset
from segbench.data.own_data import discover as own
from segbench.data.own_data.description import read
from segbench.data.reader import label_reader, pairs
from segbench.data.verify import verify
from tests.data.own_tree import COLOURS, FIELDS, VALUES, YARDS, arrays, put, write_fields, write_yards
from tests.data.status import data_status

TRAIN_IDS = np.array([0, 1, 255], np.uint8)


@pytest.fixture(autouse=True)
def _nothing_stays() -> Iterator[None]:
    before = registry.names("dataset"), table_names()
    yield
    own.forget()
    assert (registry.names("dataset"), table_names()) == before


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_fields(tmp_path)
    write_yards(tmp_path)
    assert own.discover(tmp_path) == []
    return tmp_path


def faults(folder: Path, text: str) -> list[str]:
    """What is wrong with a text, as lines without the name of the file."""
    folder.mkdir(exist_ok=True)
    (folder / "dataset.yaml").write_text(text, encoding="utf-8")
    told, found = read(folder / "dataset.yaml")
    assert (told is None) == bool(found)
    assert all(line.startswith(f"{folder.name}/dataset.yaml:") for line in found)
    return [line.removeprefix(f"{folder.name}/dataset.yaml:") for line in found]


@pytest.mark.parametrize("name", ["fields", "yards"])
def test_it_is_read_like_every_other(root: Path, name: str) -> None:
    for split in ("train", "val"):
        dataset = open_dataset(DataSpec(name=name, splits=(split,)), root=root)
        assert len(dataset) == 2
        for index in range(2):
            image, parts = arrays(split, index)
            read_image, label = dataset.read(index)
            assert np.array_equal(label, TRAIN_IDS[parts])
            assert read_image.shape == image.shape
            if name == "fields":  # the others are JPEG
                assert np.array_equal(read_image, image)
        keys = ["f0", "f1"] if name == "fields" else [f"{split}0", f"{split}1"]
        assert [dataset.key(index) for index in range(2)] == [f"{split}/{key}" for key in keys]
    assert data_status(name, root) == "ready"
    assert verify(name, root).folder == root / name


def test_facts(root: Path) -> None:
    known, other = facts("fields"), facts("yards")
    assert (known.title, other.title, known.licence) == ("Fields", "yards", "own pictures")
    assert known.splits == other.splits == {"train": (2,), "val": (2,)}
    assert (known.native_size, other.native_size) == ((48, 64), None)
    files = list((root / "fields").rglob("*.png"))
    assert known.size_bytes == sum(path.stat().st_size for path in files)
    table = class_table("fields")
    assert table.classes == (ClassEntry("road", (128, 64, 128)), ClassEntry("car", (0, 0, 142)))
    assert dict(class_table("yards").values) == {7: 0, 9: 1, 0: 255}
    assert [entry.color for entry in class_table("yards").classes] == [(128, 0, 0), (0, 128, 0)], "VOC's colour map"


def test_scenes_are_drawn_with_its_classes(root: Path) -> None:
    drawn = open_dataset(DataSpec(name="fields", source="generated", splits=("val",), images=3))
    image, label = drawn.read(0)
    assert image.shape == (48, 64, 3)
    assert {0} <= set(np.unique(label).tolist()) <= {0, 1, 255}


def test_files_that_are_missing(root: Path) -> None:
    (root / "fields" / "labels" / "train" / "f0_gt.png").unlink()
    (root / "fields" / "images" / "val" / "f1.png").unlink()
    (root / "yards" / "val.txt").unlink()
    own.discover(root)
    found = pairs("fields", root / "fields", "val")
    assert [(pair.key, pair.image.name) for pair in found] == [("val/f0", "f0.png"), ("val/f1", "f1.png")]
    assert data_status("fields", root) == "incomplete: 2 of 4"
    with pytest.raises(MissingFault, match=r"f0_gt\.png"):
        open_dataset(DataSpec(name="fields"), root=root)
    with pytest.raises(MissingFault, match=r"val.txt: the list is missing"):
        open_dataset(DataSpec(name="yards", splits=("val",)), root=root)


def test_numbers_that_were_said(root: Path) -> None:
    write_fields(root, FIELDS.replace("splits: [train, val]", "splits: {train: {count: 3}, val: }"))
    own.discover(root)
    assert facts("fields").splits == {"train": (3,), "val": (2,)}
    assert data_status("fields", root) == "incomplete: 4 of 5"
    write_fields(root, FIELDS.replace("images/{split}/*.png", "nowhere/{split}/*.png").replace("labels/", "none/"))
    own.discover(root)
    assert data_status("fields", root) == "missing", "no images at all are never right"


def test_a_split_without_labels(root: Path) -> None:
    write_fields(root, FIELDS.replace("splits: [train, val]", "splits: {train: , val: {labels: null}}"))
    own.discover(root)
    assert facts("fields").secret == ("val",)
    assert [pair.label for pair in pairs("fields", root / "fields", "val")] == [None, None]
    assert (open_dataset(DataSpec(name="fields", splits=("val",)), root=root).read(0)[1] == 255).all()


def test_names_out_of_several_folders(tmp_path: Path) -> None:
    """As Cityscapes has them: a folder a town, and an ending that is another for labels."""
    for town, name in (("ulm", "a"), ("bonn", "a"), ("bonn", ".hidden")):
        put(tmp_path / "towns" / "left" / "val" / town / f"{name}_left.png", np.zeros((8, 8, 3), np.uint8))
        put(tmp_path / "towns" / "gt" / "val" / town / f"{name}_ids.png", np.full((8, 8), 1, np.uint8))
    text = YARDS.replace("pictures/*.jpg", "left/{split}/*/*_left.png").replace("masks/*.png", "gt/{split}/*/*_ids.png")
    (tmp_path / "towns" / "dataset.yaml").write_text(text[: text.index("splits:")] + "splits: [val]\n")
    own.discover(tmp_path)
    found = pairs("towns", tmp_path / "towns", "val")
    assert [pair.key for pair in found] == ["val/bonn/a", "val/ulm/a"]
    assert all(pair.label is not None and pair.label.is_file() for pair in found)
    (tmp_path / "towns" / "some.txt").write_text("ulm/a\n\n")
    listed = text[: text.index("splits:")] + "splits: {val: {list: some.txt}}\n"
    (tmp_path / "towns" / "dataset.yaml").write_text(listed)
    own.discover(tmp_path)
    assert [pair.key for pair in pairs("towns", tmp_path / "towns", "val")] == ["val/ulm/a"]
    for line in ("ulm", "../ulm/a", "/ulm/a"):
        (tmp_path / "towns" / "some.txt").write_text(f"ulm/a\n{line}\n")
        with pytest.raises(InvalidFault, match=r"some.txt:2: "):
            pairs("towns", tmp_path / "towns", "val")


def test_files_elsewhere_and_names_that_are_not_unique(root: Path, tmp_path: Path) -> None:
    home = root / "linked"
    home.mkdir()
    (home / "dataset.yaml").write_text(FIELDS + "folder: ../fields\n")
    own.discover(root)
    assert open_dataset(DataSpec(name="linked"), root=root).read(1)[0].shape == (48, 64, 3)
    assert data_status("linked", tmp_path / "elsewhere") == "missing"
    put(root / "fields" / "images" / "train" / "f0.jpg", np.zeros((48, 64, 3), np.uint8))
    (root / "fields" / "dataset.yaml").write_text(FIELDS.replace("*.png", "*.*", 1))
    own.discover(root)
    with pytest.raises(InvalidFault, match=r"f0\.(jpg|png) and f0\.(jpg|png) of split train"):
        pairs("fields", root / "fields", "train")


# Labels.


def test_colours_that_nobody_named(root: Path) -> None:
    path = root / "fields" / "labels" / "train" / "f0_gt.png"
    label = COLOURS[arrays("train", 0)[1]]
    label[5, 9] = 128, 64, 129
    put(path, label)
    with pytest.raises(MissingFault, match=r"f0_gt.png: has the colour \[128, 64, 129\] \(row 5, column 9\)"):
        label_reader("fields")(path)
    label[6, 0] = 1, 2, 3
    put(path, label)
    with pytest.raises(MissingFault, match=r"129\] and 1 more"):
        label_reader("fields")(path)
    with pytest.raises(MissingFault, match=r"f0_gt\.png"):
        verify("fields", root)


def test_every_colour_is_told_from_every_other(root: Path) -> None:
    """Colours that differ in one bit of one channel, in a look-up that packs all three into one number."""
    rng = np.random.default_rng(0)
    first = rng.integers(0, 256, 3)
    many = {tuple(int(c) ^ (1 << bit if channel == place else 0) for place, c in enumerate(first)): None
            for channel in range(3) for bit in range(8)}  # fmt: skip
    colours = list(many)
    classes = "".join(f"  - {{name: c{i}, colour: {list(colour)}}}\n" for i, colour in enumerate(colours))
    text = FIELDS[: FIELDS.index("classes:")] + f"classes:\n{classes}splits: [train]\n"
    write_fields(root, text)
    own.discover(root)
    wanted = rng.integers(0, len(colours), (48, 64))
    path = root / "fields" / "labels" / "train" / "f0_gt.png"
    put(path, np.array(colours, np.uint8)[wanted])
    assert np.array_equal(label_reader("fields")(path), wanted)
    assert len(colours) == 24


def test_several_codes_of_one_class(root: Path) -> None:
    text = FIELDS.replace("colour: [0, 0, 142]}", "colour: [0, 0, 142], colours: [[0, 0, 0]]}").replace(
        "ignore: [[0, 0, 0]]\n", ""
    )
    write_fields(root, text)
    write_yards(root, YARDS.replace("values: [9]", "values: [9, 0]").replace("ignore: [0]", "ignore: [255]"))
    own.discover(root)
    parts = arrays("train", 0)[1]
    for name in ("fields", "yards"):
        label = open_dataset(DataSpec(name=name), root=root).read(0)[1]
        assert np.array_equal(label, np.array([0, 1, 1])[parts])


def test_values_that_nobody_named(root: Path) -> None:
    put(root / "yards" / "masks" / "train1.png", np.where(arrays("train", 1)[1] == 0, 8, 9).astype(np.uint8))
    with pytest.raises(MissingFault, match="label values 8"):
        open_dataset(DataSpec(name="yards"), root=root).read(1)
    assert (open_dataset(DataSpec(name="yards"), root=root).read(0)[1] == TRAIN_IDS[arrays("train", 0)[1]]).all()
    assert VALUES.tolist() == [7, 9, 0]


# What it says.

WRONG = [
    ("schema: 1", "schema: 2", "1: schema: "),
    ("title: Fields", "titel: Fields", "2: titel: unknown key 'titel'"),
    ("title: Fields", "title: [", "4: while parsing"),
    ("images: images/{split}/*.png\n", "", "missing key 'images'"),
    ("images/{split}/*.png", "../{split}/*.png", "4: images: '../{split}/*.png' is not inside the data set"),
    ("images/{split}/*.png", "/data/{split}/*.png", "4: images: '/data/{split}/*.png' is not inside the data set"),
    ("images/{split}/*.png", "images/{split}", "4: images: 'images/{split}' has no *"),
    ("images/{split}/*.png", "images/{spilt}/*.png", "4: images: 'images/{spilt}/*.png': only *"),
    ("images/{split}/*.png", "images/**/*.png", "4: images: 'images/**/*.png': only *"),
    ("*_gt.png", "*/*_gt.png", "12: splits.train: labels/train/*/*_gt.png has more * than images/train/*.png"),
    ("*_gt.png", "*_gt.jpg", "12: splits.train: labels/train/*_gt.jpg: lossy formats change label values"),
    ("images/{split}/*.png", "images/*.png", "12: splits.val: has the same images as train"),
    ("label_mode: colours", "label_mode: rgb", "6: label_mode: input should be 'indices' or 'colours', got 'rgb'"),
    ("label_mode: colours", "label_mode: indices", "9: classes.0: 'road' has no value or values"),
    ("[48, 64]", "[48, 0]", "7: size.1: input should be greater than 0, got 0"),
    ("  - {name: car, colour: [0, 0, 142]}\n", "", "8: classes: must be 2 to 254 classes, got 1"),
    ("name: car", "name: Road", "10: classes.1.name: 'Road' is class 0 already"),
    ("name: car", "name: '*'", "10: classes.1.name: '*' has neither letters nor digits"),
    (
        "[0, 0, 142]",
        "[0, 0, 300]",
        "10: classes.1.colour: a colour is [red, green, blue] with numbers from 0 to 255",
    ),
    ("[0, 0, 142]", "[0, 142]", "10: classes.1.colour: a colour is [red, green, blue]"),
    ("[0, 0, 142]", "[128, 64, 128]", "10: classes.1: [128, 64, 128] is road already"),
    ("colour: [0, 0, 142]", "colour: [0, 0, 142], value: 3", "10: classes.1: value and values cannot be combined"),
    (", colour: [0, 0, 142]", "", "10: classes.1: 'car' has no colour"),
    ("[[0, 0, 0]]", "[0]", "11: ignore.0: 0 is not a colour [red, green, blue]"),
    ("[[0, 0, 0]]", "[black]", "11: ignore.0: must be a value from 0 to 255 or a colour [red, green, blue]"),
    ("[[0, 0, 0]]", "[[0, 0, 142]]", "11: ignore.0: [0, 0, 142] is car already"),
    ("[[0, 0, 0]]", "[[0, 0]]", "11: ignore.0: a colour is [red, green, blue]"),
    ("[train, val]", "[train, 'the val']", "12: splits.the val: 'the val' is not a valid name of a split"),
    ("[train, val]", "{}", "12: splits: a data set has at least one split"),
    ("[train, val]", "{val: {list: ../val.txt}}", "12: splits.val.list: '../val.txt' is not inside the data set"),
    ("[train, val]", "{val: {lists: val.txt}}", "12: splits.val.lists: unknown key 'lists'"),
    ("[train, val]", "{val: {count: 0}}", "12: splits.val.count: input should be greater than 0, got 0"),
]


@pytest.mark.parametrize(("right", "wrong", "says"), WRONG)
def test_faults_name_their_line(tmp_path: Path, right: str, wrong: str, says: str) -> None:
    assert right in FIELDS
    found = faults(tmp_path / "fields", FIELDS.replace(right, wrong))
    assert any(line.startswith(says) or (says.startswith("missing") and says in line) for line in found), found


def test_the_examples_have_no_fault(tmp_path: Path) -> None:
    assert faults(tmp_path / "fields", FIELDS) == faults(tmp_path / "yards", YARDS) == []
    docstring = __import__("segbench.data.own_data.description", fromlist=["__doc__"]).__doc__
    example = [line[4:] for line in docstring.splitlines() if line.startswith("    ")]
    assert faults(tmp_path / "field-robots", "\n".join(example)) == []


def test_all_faults_at_once(tmp_path: Path) -> None:
    text = FIELDS.replace("name: car", "name: road").replace("[[0, 0, 0]]", "[4]").replace("*_gt.png", "*_gt.jpg")
    assert len(faults(tmp_path / "fields", text)) == 4


# The registry.


def test_a_faulty_one_stops_only_who_uses_it(root: Path) -> None:
    write_yards(root, YARDS.replace("value: 7", "value: 777"))
    assert own.discover(root) == []
    assert "yards" in registry.names("dataset")
    for use in (lambda: facts("yards"), lambda: data_status("yards", root), lambda: verify("yards", root)):
        with pytest.raises(InvalidFault, match=r"yards/dataset.yaml:6: classes.0.value: .*777") as caught:
            use()
        assert caught.value.next.endswith("segbench data verify yards")
    assert verify("fields", root).lines


@pytest.mark.parametrize("name", ["camvid", "CamVid", "pascal_context", "voc2012"])
def test_names_of_segbench_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "dataset.yaml").write_text(FIELDS)
    before = registry.names("dataset")
    (line,) = own.discover(tmp_path)
    assert line.startswith(str(tmp_path / name / "dataset.yaml")) and "rename the folder" in line
    assert registry.names("dataset") == before
    assert facts("camvid").title == "CamVid"


@pytest.mark.parametrize(
    ("name", "says"),
    [("camvid-11", "has a class table 'camvid-11' of its own"), ("my data", "is not a valid name of a data")],
)
def test_other_names_that_do_not_go(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "dataset.yaml").write_text(FIELDS)
    assert own.discover(tmp_path) == []
    with pytest.raises(InvalidFault, match=says):
        facts(name)
    assert class_table("camvid-11").name == "camvid"


def test_what_was_moved_aside_or_hidden_is_left_alone(root: Path) -> None:
    for name in (".fields-x", "fields.before-1"):
        (root / name).mkdir()
        (root / name / "dataset.yaml").write_text(FIELDS)
    before = registry.names("dataset")
    assert own.discover(root) == []
    assert registry.names("dataset") == before


def test_another_root_takes_the_place_of_the_first(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    write_fields(other, FIELDS.replace("title: Fields", "title: Meadows"))
    own.discover(other)
    assert facts("fields").title == "Meadows"
    assert set(registry.added("dataset")) == {"fields"}
    with pytest.raises(UsageFault, match="No dataset 'yards'"):
        facts("yards")
    assert own.discover(tmp_path / "nowhere") == []
    assert registry.added("dataset") == ()


def test_tables_of_the_package_cannot_be_replaced() -> None:
    made = ClassTable("made", (ClassEntry("a", (1, 2, 3)), ClassEntry("b", (4, 5, 6))), "here", ((0, 0), (1, 1)))
    add_table(made)
    try:
        assert class_table("made") is made
        assert "made" in table_names()
    finally:
        remove_table("made")
    with pytest.raises(InvalidFault, match="No class table 'made'"):
        class_table("made")
    for name in ("camvid", "pascal-context-59"):
        with pytest.raises(UsageFault, match="another name"):
            add_table(ClassTable(name, made.classes, "here", made.values))
