"""A table of features from its recipe to its verdicts, on a data set as small as can be."""

from pathlib import Path

import pytest

from segbench.recipe.catalog import Catalog, add_file, load_catalog, recipes_root
from segbench.recipe.figures import Figure
from segbench.recipe.resolve import Request, resolve
from segbench.results.compare import compare_table
from segbench.results.flat import attempt_fields
from segbench.results.formats import render
from segbench.results.store import Store
from tests.program import SETTINGS, segbench
from tests.reproduce.test_execute import TINY, Run

TABLE = """
schema: 1
version: 1
table: features
title: Features of two networks
source: nowhere
margin: {alignment: 0.1}
base: {camvid: contextrast-table1/camvid-hrnet}
rows:
  plain:
    title: Plain
    figures: {camvid.test: {miou: "80.0", alignment: "0.80", uniformity: "1.60", neighborhood_uniformity_3: "1.10"}}
  other:
    title: Other
    augmentation: {flip: 0.0}
    figures: {camvid.test: {alignment: "0.60", alignment_gain: {printed: "-0.20", over: plain}, uniformity: "1.50"}}
  scores: {title: Scores, figures: {camvid.test: {miou: "80.0"}}}
readings:
  feature-length:
    question: Which?
    options:
      raw: {says: as they are, set: {evaluation.features.length: raw}}
      unit: {says: at unit length, set: {evaluation.features.length: unit}}
    default: raw
    source: not stated
    confidence: low
    when: {row: [plain, other]}
"""


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    catalog = load_catalog(recipes_root())
    (tmp_path / "features.yaml").write_text(TABLE)
    add_file(catalog, tmp_path / "features.yaml")
    return catalog


class FeatureRun(Run):
    def make(self, **words: object):  # type: ignore[no-untyped-def]
        from segbench.reproduce.plan import make_plan

        request = words.pop("request", TINY)
        return make_plan(self.catalog, "features", self.folders, request=request, **words)  # type: ignore[arg-type]


@pytest.fixture
def run(catalog: Catalog, tmp_path: Path) -> FeatureRun:
    return FeatureRun(catalog, tmp_path / "results")


def test_only_rows_that_print_features_ask_for_them(catalog: Catalog) -> None:
    asked = {}
    for row in ("plain", "other", "scores"):
        evaluation = resolve(catalog, "features", row, "camvid").published.evaluation
        assert evaluation is not None
        asked[row] = evaluation.features
    assert asked["plain"] == asked["other"] is not None and asked["scores"] is None
    table = catalog.table("contextrast-table4")
    for figure in table.figures():
        assert figure.kind == "feature" and figure.measured
    for row in table.file.rows:
        for dataset in ("cityscapes", "camvid"):
            found = resolve(catalog, table.name, row, dataset)
            training = resolve(catalog, "contextrast-table2", row, dataset).published.training
            assert found.unsupported == [] and found.published.evaluation is not None
            assert found.published.evaluation.features is not None
            assert found.published.evaluation.features.per_class == 2000
            assert found.published.evaluation.scales == (1.0,), "scales are of predictions, which are not looked at"
            assert training is not None and found.published.training is not None
            assert found.published.training.id() == training.id(), "the trainings of Table 2 are shared"


def test_from_trainings_to_verdicts(run: FeatureRun) -> None:
    assert run(run.make()).failed == []
    records = {record.id: record for record in run.store.records()}
    assert len(records) == 3, "plain and scores share a training, not an evaluation"
    by_row = {attempt.row: records[attempt.evaluation] for attempt in run.store.attempts("features")}
    assert by_row["plain"].training == by_row["scores"].training
    assert "alignment" not in by_row["scores"].figures and "features" not in by_row["scores"].provenance
    assert by_row["plain"].figures["miou"] == by_row["scores"].figures["miou"]
    plain, other = by_row["plain"], by_row["other"]
    for record in (plain, other):
        figures = record.figures
        assert figures["alignment_over_uniformity"] == pytest.approx(figures["alignment"] / figures["uniformity"])
        count = sum(each["pixels"] > 0 for each in record.provenance["features"].values())
        assert 0 < figures["uniformity_unit"] <= (2 * count / (count - 1)) ** 0.5, "the bound of unit vectors"
        assert figures["neighborhood_uniformity_3"] <= figures["neighborhood_uniformity_5"] <= figures["uniformity"]
    entries = {(entry.figure.row, entry.figure.metric): entry for entry in reported(run).entries}
    assert entries["plain", "alignment"].measured == plain.figures["alignment"]
    gain = entries["other", "alignment_gain"].measured
    assert gain == pytest.approx(other.figures["alignment"] - plain.figures["alignment"])
    assert {entry.verdict for entry in entries.values()} == {"not comparable"}
    text = render([reported(run)], "markdown")
    ratio = plain.figures["alignment_over_uniformity"]
    assert f"Plain {ratio:.2f} (0.50), Other {other.figures['alignment_over_uniformity']:.2f} (0.40)" in text
    assert text.count("which no scale changes") == 1


def reported(run: FeatureRun):  # type: ignore[no-untyped-def]
    return compare_table(run.catalog, "features", run.store)


def test_another_length_is_another_evaluation_of_the_same_training(run: FeatureRun) -> None:
    assert run(run.make(row="plain")).failed == []
    unit = Request("smoke", readings=(("feature-length", "unit"),), settings=TINY.settings)
    plan = run.make(row="plain", request=unit)
    assert run(plan).failed == []
    raw, normalised = sorted(run.store.records(), key=lambda record: "alignment_raw" in record.figures)
    assert raw.training == normalised.training and raw.id != normalised.id
    assert normalised.figures["alignment"] == raw.figures["alignment_unit"]
    assert normalised.figures["uniformity_raw"] == raw.figures["uniformity"]
    tried = reported(run).row("plain", "camvid").attempts
    assert {tuple(attempt_fields(each)["readings"].items()) for each in tried if each.records} == {
        (), (("feature-length", "unit"),)
    }  # fmt: skip


def test_the_command_line(tmp_path: Path) -> None:
    """One row of Table 4 on generated scenes; what is printed for it is not what four steps give."""
    settings = [word for path, value in SETTINGS.items() for word in ("--set", f"{path}={value}")]
    target = ("contextrast-table4/upernet", "--dataset", "camvid", "--budget", "smoke")
    done = segbench("reproduce", *target, *settings, "--out", tmp_path, "--device", "cpu", "--json")
    assert done.code == 0, done.err
    entries = [entry for entry in done.json["reports"][0]["figures"] if entry["measured"] is not None]
    assert {entry["metric"] for entry in entries} == {
        "alignment", "uniformity", "neighborhood_uniformity_3", "neighborhood_uniformity_5"
    }  # fmt: skip
    (record,) = Store(tmp_path).records()
    assert record.figures["alignment"] == next(e["measured"] for e in entries if e["metric"] == "alignment")
    assert Figure("t", "r", "camvid", "test", "alignment", "0.78").kind == "feature"
