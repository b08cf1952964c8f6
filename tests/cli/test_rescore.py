"""Released weights as evidence: served from this machine, scored as the rows that they stand for, and reported."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from segbench.checkpoints import published as checkpoints
from segbench.data.classes import class_table
from segbench.results.store import Store
from tests.checkpoints.families import mmseg_like as mm
from tests.file_server import FileServer, serving
from tests.models.random_weights import randomise
from tests.program import Done, segbench

WEIGHTS = """
protocols:
  flip: {{short: flip, words: the image and its mirror image, fields: {{flip: true, enlarge: twice}}}}
groups:
  - family: mmsegmentation
    project: One
    address: {site}/
    digest: none
    licence: As you like it.
    source: README of One
    checkpoints:
      - {{name: one-base, network: PSPNet, file: base.pth, data: camvid, split: test,
         figures: [{{protocol: flip, value: "70.00"}}]}}
      - {{name: one-lost, network: PSPNet, file: lost.pth, data: camvid, split: test, figures: []}}
"""
TABLE = """
schema: 1
version: 1
table: mine-table1
title: Made here
source: nobody
base: {camvid: contextrast-table1/camvid-hrnet}
evaluation: {split: test, mode: whole, scales: [1.0], flip: false, fuse: probabilities, checkpoint: last,
  enlarge: twice}
rows:
  base: {title: Base, figures: {camvid.test: {miou: "PRINT"}}}
  up: {title: Up, over: base, figures: {camvid.test: {miou: "80.0"}}}
  bare: {title: Bare, figures: {camvid.test: {miou: "60.0"}}}
"""
RELEASED = """
schema: 1
paper: mine
says: The authors released two networks.
source: their README
weights:
  - {checkpoint: one-base, row: mine-table1/base, dataset: camvid, differs: a later port}
  - {checkpoint: one-lost, row: mine-table1/up, dataset: camvid, by: same print}
"""


class Laboratory:
    """A folder of recipes, a server of weights, results, and the data."""

    def __init__(self, root: Path, data: Path) -> None:
        self.root, self.data, self.store = root, data, Store(root / "out")
        self.recipes = root / "recipes" / "mine"
        self.recipes.mkdir(parents=True)
        (self.recipes / "released.yaml").write_text(RELEASED)
        self.print("70.0")

    def print(self, value: str) -> None:
        (self.recipes / "table1.yaml").write_text(TABLE.replace("PRINT", value))

    def run(self, command: str, *words: object) -> Done:
        places = ["--out", self.store.root]
        places += ["--data-root", self.data, "--device", "cpu"] if command in ("reproduce", "eval") else []
        return segbench(command, *words, *places)

    def answer(self) -> dict[str, Any]:
        (found,) = self.run("report", "mine-table1", "--json").json["reports"][0]["rescored"]
        return dict(found)


@pytest.fixture
def lab(tmp_path: Path, camvid: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Laboratory]:
    for name in ("SEGBENCH_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    server, buffer = FileServer(), io.BytesIO()
    torch.save(saved(), buffer)
    server.files["base.pth"] = buffer.getvalue()
    server.missing = {"lost.pth"}
    table = tmp_path / "weights.yaml"
    table.write_text(WEIGHTS.format(site=server.site))
    monkeypatch.setattr(checkpoints, "_TABLE", table)
    monkeypatch.setenv("SEGBENCH_RECIPES", str(tmp_path / "recipes"))
    checkpoints.checkpoint_table.cache_clear()
    with serving(server):
        yield Laboratory(tmp_path, camvid)
    checkpoints.checkpoint_table.cache_clear()


def saved(classes: int = 11) -> dict[str, Any]:
    network = randomise(mm.pspnet(mm.ResNet((1, 1, 1, 1), width=8), classes, channels=8))
    names = class_table("camvid").names if classes == 11 else [f"organ {number}" for number in range(classes)]
    return {"meta": {"CLASSES": names}, "state_dict": network.state_dict()}


def test_from_the_server_to_the_report(lab: Laboratory) -> None:
    plan = lab.run("reproduce", "mine-table1/base", "--weights", "released", "--dry-run")
    assert "one-base" in plan.out and "will be downloaded" in plan.out and lab.store.is_empty()
    done = lab.run("reproduce", "mine-table1/base", "--weights", "released", "-q")
    assert done.code == 0, done
    by_flip = {"flip" in record.evaluation_spec: record for record in lab.store.records()}
    assert {record.kind for record in by_flip.values()} == {"checkpoint"} and set(by_flip) == {False, True}
    for record in by_flip.values():
        assert record.provenance["stands_for"] == [{"table": "mine-table1", "row": "base", "dataset": "camvid"}]
    own, theirs = (by_flip[flip].figures["miou"] for flip in (False, True))
    assert own is not None and theirs is not None and abs(own - theirs) > 0.1, "the protocols can be told apart"
    text = " ".join(done.out.split())
    assert "Do released weights give it?" in text and "does not agree" in text and "the authors'; a later port" in text
    assert "Released weights: The authors released two networks." in text

    lab.print(f"{own:.2f}")
    answer = lab.answer()
    assert (answer["word"], answer["weights"], answer["by"]) == ("agrees", "one-base", "authors")
    assert answer["value"] == pytest.approx(own)
    lab.print(f"{theirs:.2f}")
    answer = lab.answer()
    assert answer["word"] == "agrees otherwise"
    assert answer["reason"].startswith(f"{theirs:.2f} with ") and "flip True for default" in answer["reason"]
    explained = lab.run("explain-verdict", "mine-table1/base").out
    assert f"re-scored   one-base: {own:.4f} - {float(f'{theirs:.2f}'):g} = " in explained
    csv = lab.run("report", "mine-table1", "--format", "csv").out.splitlines()
    assert csv[0].endswith("rescored,rescored_verdict") and csv[1].endswith(",agrees otherwise")


def test_the_tolerance_is_that_of_rounding_and_of_numerics(lab: Laboratory) -> None:
    assert lab.run("reproduce", "mine-table1/base", "--weights", "released", "-q").code == 0
    own = next(record.figures["miou"] for record in lab.store.records() if "flip" not in record.evaluation_spec)
    assert own is not None
    for apart, agrees in ((0.019, True), (-0.019, True), (0.022, False), (-0.022, False)):
        lab.print(f"{own + apart:.3f}")  # half a digit of 0.0005, and 0.02; up to 0.0005 is lost in rounding
        assert (lab.answer()["word"] == "agrees") == agrees, apart


def test_one_that_fails_does_not_stop_the_others(lab: Laboratory) -> None:
    done = lab.run("reproduce", "mine-table1", "--weights", "released", "-q")
    assert done.code == 5
    assert "(one-lost)" in done.err and "1 file could not be scored; the others are recorded." in done.err
    assert "Do released weights give it?" in done.out and done.err.rstrip().splitlines()[-1].startswith("Next: ")
    alone = lab.run("reproduce", "mine-table1/up", "--weights", "released", "-q")
    assert alone.code == 3 and "nothing was recorded" in alone.err and not alone.out


def test_a_file_of_the_users_own(lab: Laboratory) -> None:
    path = lab.root / "mine.pth"
    torch.save(saved(), path)
    done = lab.run("eval", "--checkpoint", path, "--as", "mine-table1/bare")
    assert done.code == 0, done
    assert done.out.rstrip().endswith("Next: segbench report mine-table1 --dataset camvid")
    (record,) = lab.store.records()
    plain = lab.run("eval", "--checkpoint", path, "--dataset", "camvid", "--split", "test", "--json").json
    assert plain["id"] == record.id, "the same evaluation, without the row"
    again = lab.store.find(record.id)
    assert again is not None and again.provenance["stands_for"] == record.provenance["stands_for"]
    answer = lab.answer()
    assert (answer["weights"], answer["by"], answer["figure"]["row"]) == ("mine.pth", "a file", "bare")
    assert "nothing measured yet" in lab.run("report", "mine-table1").out, "it never replaces what was trained"


def test_a_network_with_tensors_at_random_never_agrees(lab: Laboratory) -> None:
    path, file = lab.root / "part.pth", saved()
    del file["state_dict"]["decode_head.conv_seg.bias"]
    torch.save(file, path)
    words = ("--checkpoint", path, "--as", "mine-table1/bare", "--allow-partial", "--json")
    value = lab.run("eval", *words).json["figures"]["miou"]
    table = (lab.recipes / "table1.yaml").read_text()
    (lab.recipes / "table1.yaml").write_text(table.replace('"60.0"', f'"{value:.2f}"'))
    answer = lab.answer()
    assert answer["word"] != "agrees" and "were left at random" in answer["reason"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["reproduce", "mine-table1", "--weights", "theirs"], 2, "--weights takes released, got 'theirs'"),
        (["reproduce", "mine-table1", "--weights", "released", "--budget", "small", "--seeds", "3"], 2,
         "--budget and --seeds cannot be combined with --weights released"),
        (["reproduce", "mine-table1/bare", "--weights", "released"], 2, "No released weights stand for"),
        (["reproduce", "mine-table1/none", "--weights", "released"], 2, "No row 'none' in mine-table1"),
        (["reproduce", "semiseg-table1", "--weights", "released"], 2, "configurations, and no weights"),
        (["eval", "--checkpoint", "FILE", "--as", "mine-table1"], 2, "--as takes TABLE/ROW"),
        (["eval", "--checkpoint", "FILE", "--as", "mine-table1/none"], 2, "No row 'none' in mine-table1"),
        (["eval", "--checkpoint", "FILE", "--as", "mine-table1/base", "--flip"], 2, "--flip cannot be combined with"),
        (["eval", "--checkpoint", "FILE", "--as", "contextrast-table6/layers-4"], 2, "--dataset chooses one of them"),
        (["eval", "--checkpoint", "FILE", "--as", "contextrast-table7/hrnet"], 2, ""),
        (["eval", "--checkpoint", "FILE", "--reading", "a=b"], 2, "it needs --as TABLE/ROW"),
        (["eval", "--checkpoint", "WRONG", "--as", "mine-table1/base"], 4, "predicts 7 classes, camvid has 11"),
    ],
)  # fmt: skip
def test_bad_input(lab: Laboratory, words: list[str], code: int, said: str) -> None:
    files = {"FILE": 11, "WRONG": 7}
    for name, classes in files.items():
        torch.save(saved(classes), lab.root / f"{name}.pth")
    done = lab.run(words[0], *(lab.root / f"{word}.pth" if word in files else word for word in words[1:]))
    assert said in done.fails(code)
    assert lab.store.is_empty()


def test_faults_of_the_file_have_their_line(lab: Laboratory) -> None:
    wrong = RELEASED.replace("mine-table1/up", "mine-table1").replace("same print", "a friend")
    (lab.recipes / "released.yaml").write_text(wrong)
    said = segbench("list").err
    assert "released.yaml" in said and "2 faults" in said


def test_every_registered_checkpoint_says_what_it_stands_for() -> None:
    listed = segbench("weights", "list", "--json").json
    known = [each for each in listed if each["kind"] == "checkpoint"]
    assert len(known) == 73
    stand = {each["name"]: each["stands_for"] for each in known}
    assert {name for name, rows in stand.items() if rows} == {
        "contrastiveseg-hr48-cityscapes", "contrastiveseg-hr48-contrast-cityscapes",
        "contrastiveseg-deeplabv3-r101-cityscapes", "contrastiveseg-deeplabv3-r101-contrast-cityscapes",
        "hrnet-ocrnet-hr48-cityscapes", "mmseg-deeplabv3-r101-cityscapes-40k", "mmseg-fcn-hr48-cityscapes-40k",
    }  # fmt: skip
    one = segbench("weights", "list", "mmseg-fcn-hr48-cityscapes-40k").out
    assert "Stands for contextrast-main-table1/hrnet on cityscapes" in one
    none = segbench("weights", "list", "mmseg-pspnet-r101-cityscapes-80k").out
    assert "Stands for no figure of a registered table." in none


def test_same_print_is_the_same_print() -> None:
    """Weights of another project stand for a row only if their publisher prints its very figure."""
    from segbench.recipe.catalog import default_catalog

    catalog = default_catalog()
    for beside in catalog.released.values():
        for each in beside.file.weights:
            published = checkpoints.checkpoint(each.checkpoint)
            (figure,) = [
                figure
                for figure in catalog.table(each.table).figures(each.name)
                if (figure.dataset, figure.metric) == (each.dataset, "miou")
            ]
            assert (published.data, published.split) == (figure.dataset, figure.split)
            if each.by == "same print":
                assert figure.printed in [other.value for other in published.figures]
    assert json.dumps(sorted(catalog.released)) == json.dumps(
        ["cfn", "contextrast", "contrastiveseg", "label-efficient", "semiseg"]
    )


def test_statistics_of_features_are_rescored_too(lab: Laboratory) -> None:
    path = lab.root / "mine.pth"
    torch.save(saved(), path)
    done = lab.run("eval", "--checkpoint", path, "--as", "contextrast-table4/upernet", "--dataset", "camvid", "--json")
    report = lab.run("report", "contextrast-table4", "--dataset", "camvid", "--json").json["reports"][0]
    shown = {each["figure"]["metric"]: each["value"] for each in report["rescored"]}
    assert {"alignment", "uniformity"} <= set(shown)
    assert shown["alignment"] == pytest.approx(done.json["figures"]["alignment"])
