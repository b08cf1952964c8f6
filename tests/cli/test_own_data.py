"""Data sets of the user's own, as a user meets them: listed, verified, trained on, scored."""

import json
import shutil
from pathlib import Path

import pytest

from segbench.data.own_data import discover as own
from tests.data.own_tree import FIELDS, YARDS, write_fields, write_yards
from tests.program import Done, segbench

RECIPE = """\
schema: 1
version: 1
table: mine
title: A table of mine
source: nobody
data: {name: fields}
model:
  backbone:
    {name: hrnetv2, width: 8, modules: [1, 1, 1], blocks_per_branch: 1, stage1_blocks: 1, stage1_width: 16,
     stem_channels: 16}
  decoder: {name: concat, head: conv1x1}
method: {name: supervised}
schedule: {steps: 3, batch_total: 2, crop: [48, 64], optimizer: {name: sgd, lr: 1e-2}}
rows:
  seeded:
    data: {subset: {count: 1, draw: null}}
    figures: {fields.val: {miou: "50.0"}}
  balanced:
    data: {subset: {count: 1, rule: balanced}}
    figures: {fields.val: {miou: "60.0"}}
"""


@pytest.fixture(autouse=True)
def _nothing_stays():
    yield
    own.forget()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_fields(tmp_path / "data")
    write_yards(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "mine.yaml").write_text(RECIPE)
    return tmp_path / "mine.yaml"


def test_listed_and_verified(root: Path) -> None:
    entries = {entry["name"]: entry for entry in segbench("data", "list", "--json", "--data-root", root).json}
    assert {name: entries[name]["status"] for name in ("fields", "yards")} == {"fields": "ready", "yards": "ready"}
    assert "camvid" in entries
    assert segbench("data", "list", "fields", "--data-root", root).out.startswith("Fields (fields): ready in ")
    for name in ("fields", "yards"):
        done = segbench("data", "verify", name, "--data-root", root)
        assert done.code == 0, done.err
        assert "all 2 classes occur" in done.out
    assert "No dataset 'fields'" in segbench("data", "verify", "fields", "--data-root", root.parent).fails(2)


def test_prepared_images_follow_the_description(root: Path) -> None:
    """Colours that mean something else from now on: what was decoded before must not be taken."""
    first = segbench("data", "prepare", "fields", "--data-root", root)
    assert first.code == 0, first.err
    swapped = FIELDS.replace("128, 64, 128", "A").replace("0, 0, 142", "128, 64, 128").replace("A", "0, 0, 142")
    (root / "fields" / "dataset.yaml").write_text(swapped)
    before = read_all(root)
    (root / "fields" / "dataset.yaml").write_text(FIELDS)
    after = read_all(root)
    assert all((one != other).any() for one, other in zip(before, after, strict=True))


def read_all(root: Path) -> list:
    from segbench.core.spec import DataSpec
    from segbench.data.open import open_dataset

    own.discover(root)
    dataset = open_dataset(DataSpec(name="fields"), root=root)
    return [dataset.read(index)[1] for index in range(2)]


def train(root: Path, recipe: Path, *words: object) -> Done:
    done = segbench("reproduce", *words, "--recipe", recipe, "--data-root", root, "--yes", "--out", root.parent / "out")
    assert done.code == 0, done.err
    return done


def test_nothing_to_download_is_not_offered(root: Path, recipe: Path) -> None:
    """Of a data set that comes from nowhere segbench only knows what is missing."""
    shutil.rmtree(root / "fields" / "labels")
    words = ("reproduce", "mine", "--recipe", recipe, "--data-root", root, "--out", root.parent / "out", "--yes")
    err = segbench(*words).fails(3)
    assert err.splitlines()[-1] == "Next: segbench data list fields"
    assert "data download" not in err


def test_a_recipe_of_ones_own_on_data_of_ones_own(root: Path, recipe: Path) -> None:
    done = train(root, recipe, "mine", "--seeds", 2)
    assert "mine · fields val" in done.out
    records = [json.loads(path.read_text()) for path in (root.parent / "out" / "records").glob("*.json")]
    assert len(records) == 4
    assert all(set(record["per_class"]) == {"road", "car"} for record in records)
    lists = {(entry["rule"], entry["draw"]) for record in records for entry in record["labelled"]}
    assert lists == {("random", 0), ("random", 1), ("balanced", 0)}
    for record in records:
        (entry,) = record["labelled"]
        assert entry["keys"] in (["train/f0"], ["train/f1"])
        assert (entry["stage"], entry["stream"], entry["count"]) == ("train", "labelled", 1)
    (weights, *_) = (root.parent / "out" / "trainings").glob("*/last.safetensors")
    words = ["eval", "--checkpoint", weights, "--data-root", root, "--out", root.parent / "out", "--json"]
    same = segbench(*words, "--split", "val")
    other = segbench(*words, "--split", "val", "--dataset", "yards")
    assert same.code == other.code == 0, same.err + other.err
    assert (same.json["dataset"], other.json["dataset"]) == ("fields", "yards")
    assert same.json["images"] == other.json["images"] == 2
    assert "11 classes" not in other.err


def test_scenes_with_ones_own_classes(root: Path, recipe: Path) -> None:
    done = train(
        root, recipe, "mine/seeded", "--budget", "smoke", "--set", "schedule.steps=2", "--set", "data.images=4"
    )
    assert "generated scenes instead of fields images" in done.out + done.err


def test_a_recipe_can_be_looked_at(root: Path, recipe: Path) -> None:
    words = ["--recipe", recipe, "--data-root", root]
    assert segbench("list", "mine", *words, "--json").json[0]["status"] == "runnable"
    assert segbench("show", "mine/seeded", *words, "--json").json[0]["status"] == "runnable"
    assert segbench("show", "mine/seeded", "--recipe", recipe, "--json").json[0]["status"] == "waiting: data set fields"
    assert segbench("report", "mine", *words).code == 0


def test_a_faulty_description(root: Path, recipe: Path) -> None:
    (root / "yards" / "dataset.yaml").write_text(YARDS.replace("value: 7", "value: seven").replace("schema: 1", ""))
    for words in (["data", "verify", "yards"], ["data", "list", "yards"], ["data", "prepare", "yards"]):
        done = segbench(*words, "--data-root", root)
        text = done.fails(4)
        assert "yards/dataset.yaml:6: classes.0.value: input should be a valid integer, got 'seven'" in text
        assert "missing key 'schema'" in text
    faulty = segbench("data", "list", "--data-root", root)
    assert faulty.code == 0 and faulty.err == ""
    assert "yards has 2 faults: segbench data verify yards" in faulty.out
    entries = {entry["name"]: entry for entry in segbench("data", "list", "--json", "--data-root", root).json}
    assert entries["yards"]["status"] == "faulty" and len(entries["yards"]["faults"]) == 2
    assert segbench("data", "verify", "fields", "--data-root", root).code == 0
    assert segbench("list", "--data-root", root).err == ""
    recipe.write_text(RECIPE.replace("fields", "yards"))
    plan = ["reproduce", "mine", "--recipe", recipe, "--data-root", root, "--out", root.parent / "out"]
    assert "yards/dataset.yaml:6" in segbench(*plan, "--dry-run").fails(4)


def test_a_name_of_segbench_is_left_out_with_one_line(root: Path) -> None:
    (root / "camvid").mkdir()
    (root / "camvid" / "dataset.yaml").write_text(FIELDS)
    done = segbench("data", "verify", "fields", "--data-root", root, "--quiet")
    assert done.code == 0
    assert len(done.lines) == 1 and "rename the folder" in done.err


def test_a_colour_that_nobody_named(root: Path) -> None:
    (root / "fields" / "dataset.yaml").write_text(FIELDS.replace("ignore: [[0, 0, 0]]\n", ""))
    done = segbench("data", "verify", "fields", "--data-root", root)
    assert "has the colour [0, 0, 0]" in done.out + done.err
    assert done.code == 3


def test_begun_with_init(root: Path) -> None:
    given = ["--images", root / "fields" / "images", "--labels", root / "fields" / "labels", "--data-root", root]
    done = segbench("data", "init", "mine", *given)
    assert done.code == 0, done.err
    assert done.out.splitlines()[-1] == "Next: segbench data verify mine"
    assert segbench("data", "verify", "mine", "--data-root", root).code == 0
    assert "is not overwritten" in segbench("data", "init", "mine", *given).fails(2)
    assert "segbench has one of its own" in segbench("data", "init", "CamVid", *given).fails(2)
    assert "letters, digits" in segbench("data", "init", "a.b", *given).fails(2)


def test_small_files_are_no_data_set(root: Path) -> None:
    done = segbench("data", "download", "semiseg-splits", "--replace")
    assert "options for archives cannot be combined" in done.fails(2)
