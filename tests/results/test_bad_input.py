"""Stores and recipes with faults: one line each, and nothing that cannot be judged gets a word."""

import json

import numpy as np
import pytest

from segbench.core.errors import InvalidFault
from segbench.recipe.catalog import load_catalog
from segbench.recipe.resolve import Request
from segbench.results.compare import compare_table
from segbench.results.report import load_report

T = "made-one"
BODY = """
rows:
  base: {title: Base, figures: {camvid.test: {miou: "70.0"}}}
  up: {title: Up, over: base, method: {alpha: 0.5}, figures: {camvid.test: {miou: "72.0"}}}
"""
COUNTS = {
    "true_positive": np.array([[6, 1], [5, 2]]),
    "predicted": np.array([[7, 3], [6, 4]]),
    "target": np.array([[8, 2], [6, 4]]),
}
MIOU = 100 * (11 / (13 + 14 - 11) + 3 / (7 + 6 - 3)) / 2


@pytest.fixture
def made(lab):
    return lab(made_one=BODY)


def entries(made):
    return {entry.figure.row: entry for entry in compare_table(made.catalog, T, made.store).entries}


def test_no_records(made):
    assert load_report(store=made.store, catalog=made.catalog).tables == ()
    assert {entry.verdict for entry in entries(made).values()} == {"not run"}


def test_one_seed_and_equal_values(made):
    made.run(T, "base", [70.0])
    assert (entries(made)["base"].verdict, entries(made)["base"].next[-9:]) == ("undecided", "--seeds 3")
    made.run(T, "base", [70.0, 70.0, 70.0])
    judged = entries(made)["base"]
    assert (judged.verdict, judged.error, judged.narrow) == ("reproduced", 0.0, pytest.approx(0.05))
    made.run(T, "up", [71.0, 71.0, 71.0])
    (gain,) = compare_table(made.catalog, T, made.store).gains
    assert (gain.answer, gain.half_width) == ("gain holds", 0.0)


def spoil(made, text):
    """Write a value as a file of somebody else's could hold it, in place of 12.5."""
    for path in (made.store.root / "records").glob("*.json"):
        path.write_text(path.read_text().replace("12.5", text))


@pytest.mark.parametrize("text", ["NaN", "Infinity", "null"])
def test_scores_that_are_no_numbers_are_not_judged(made, text):
    made.run(T, "base", [70.0, 70.2, 69.8, 12.5])
    made.run(T, "up", [12.5, 12.5])
    spoil(made, text)
    judged = entries(made)["base"]
    assert judged.seeds == (0, 1, 2) and judged.measured == pytest.approx(70.0)
    assert entries(made)["up"].verdict == "unavailable" and "hold no miou" in entries(made)["up"].reason


def test_a_record_of_another_schema_has_its_line(made):
    made.run(T, "base", [70.0])
    (path,) = (made.store.root / "records").glob("*.json")
    data = json.loads(path.read_text())
    for wrong in ({**data, "schema": 0}, {**data, "surprise": 1}, {"id": data["id"]}):
        path.write_text(json.dumps(wrong))
        with pytest.raises(InvalidFault, match=r"is no record of segbench: .*") as caught:
            compare_table(made.catalog, T, made.store)
        assert len(caught.value.faults) == 1 and caught.value.next.startswith(f"move {path.name} out")
    older = {key: value for key, value in data.items() if key not in ("validation", "labelled", "benchmark", "counts")}
    path.write_text(json.dumps(older))
    assert entries(made)["base"].verdict == "undecided", "a record of before is judged by the rules of today"


def test_counts_that_were_altered_or_damaged(made):
    made.run(T, "base", [MIOU])
    (record,) = made.store.records()
    assert made.store.tally(record) is None
    made.store.write(record, COUNTS)
    tally = made.store.tally(record)
    assert tally is not None and tally.true_positive.tolist() == [[6, 1], [5, 2]]
    made.store.write(record, {**COUNTS, "true_positive": COUNTS["true_positive"] + [[0, 1], [0, 0]]})
    with pytest.raises(InvalidFault, match="one of them was altered"):
        made.store.tally(record)
    path = made.store.record_path(record.id).with_suffix(".npz")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InvalidFault, match="is damaged"):
        made.store.counts(record)


def test_a_margin_of_nothing_is_refused(made):
    path = made.root / "made" / f"{T}.yaml"
    for margin in ("0", "-1.0", ".nan"):
        path.write_text(path.read_text().partition("margin:")[0] + f"margin: {{miou: {margin}}}\n")
        with pytest.raises(InvalidFault, match=r"margin\.miou"):
            load_catalog(made.root)


def test_many_records_of_other_tables_change_nothing(made):
    made.run(T, "base", [70.0, 70.2, 69.8])
    alone = entries(made)["base"]
    for number in range(60):
        request = Request(settings=(("schedule.optimizer.lr", 0.001 + number / 1e5),))
        made.run(T, "base", [10.0 + number, 90.0 - number], request=request)
    assert entries(made)["base"] == alone
