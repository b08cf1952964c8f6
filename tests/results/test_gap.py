"""The parts of a gap, by hand."""

import math

import numpy as np
import pytest

from segbench.recipe.resolve import Request
from segbench.results.compare import compare_table
from segbench.results.gap import sentences, take_apart
from tests.program import segbench, tiny
from tests.results.guess import GUESS

T = "made-one"
BODY = 'rows:\n  base: {title: Base, figures: {camvid.test: {miou: "70.0"}}}\n' + GUESS


def parts_of(lab):
    report = compare_table(lab.catalog, T, lab.store)
    (entry,) = report.entries
    return entry, {part.kind: part for part in take_apart(entry, report.row("base", "camvid"), lab.store)}


def test_seeds_selection_and_readings_by_hand(lab):
    lab = lab(made_one=BODY)
    small = Request("small")
    lab.run(T, "base", [40.0, 41.0, 42.0], request=small, asked=True)
    lab.run(T, "base", [44.0], request=Request("small", readings=(("guess", "two"),)), asked=True)
    lab.run(T, "base", [50.0], request=Request("tiny", readings=(("guess", "two"),)), asked=True)
    entry, parts = parts_of(lab)
    # t(2) is 4.303; a further seed of s = 1 around a mean of three
    assert parts["seeds"].high == pytest.approx(4.302653 * math.sqrt(4 / 3), abs=1e-5)
    assert parts["selection"].high == pytest.approx(1.16296, abs=1e-4)
    assert (parts["readings"].low, parts["readings"].high) == (0.0, pytest.approx(3.0)), "another budget is no reading"
    assert parts["conventions"].low is None and "kept no counts" in parts["conventions"].says
    assert "steps 50 of 100" in parts["deviations"].says
    text = list(sentences(entry, list(parts.values())))
    assert text[0] == "Published 70.0, measured 41.00: -29.00 points."
    # 3 of 29 points
    assert any(line == "Readings that were tried: guess=two +3.00. That is at most 10 % of the gap." for line in text)


def test_conventions_from_the_counts(lab):
    """Two images: a class that only the second shows counts 0 in the first under one convention."""
    lab = lab(made_one=BODY)
    lab.run(T, "base", [100 * (1 + 1 / 3) / 2])
    (record,) = lab.store.records()
    hit, predicted, target = (
        np.array(each, np.int64) for each in ([[4, 0], [4, 2]], [[4, 0], [4, 4]], [[4, 0], [4, 4]])
    )
    lab.store.write(record, {"true_positive": hit, "predicted": predicted, "target": target})
    _, parts = parts_of(lab)
    found = parts["conventions"]
    # over the set: (1 + 2/6) / 2; of each image: 1 and (1 + 2/6) / 2; without class 0: 2/6
    standard = 100 * (1 + 1 / 3) / 2
    assert found.low == pytest.approx(100 / 3 - standard)
    assert found.high == pytest.approx(100 * (1 + (1 + 1 / 3) / 2) / 2 - standard)
    assert "without-class-0" in found.says and "per-image" in found.says
    assert "one run" in parts["seeds"].says and "no other one was tried" in parts["readings"].says
    assert parts["deviations"].says == "What ran differs from the publication in nothing that is known."


def test_the_command(tmp_path):
    assert segbench(*tiny("contextrast-table6/layers-4", out=tmp_path)).code == 0
    done = segbench("explain", "contextrast-table6/layers-4", "--dataset", "camvid", "--out", tmp_path)
    assert done.code == 0 and "Published 83.42, measured" in done.out and "Conventions of the same counts" in done.out
    (one,) = segbench("explain", "contextrast-table6/layers-4", "--json", "--out", tmp_path).json
    assert {part["kind"] for part in one["components"]} == {"conventions", "readings", "seeds", "deviations"}
    assert "is not run" in segbench("explain", "contextrast-table5", "--out", tmp_path).fails(2)
    assert "No figure of 'miou' there" in segbench("explain", "contextrast-table7", "--out", tmp_path).fails(2)
