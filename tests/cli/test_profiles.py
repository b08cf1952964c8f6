"""``--profile`` of eval and report: the same counts under other conventions, without any network."""

import csv
import io
import json
from pathlib import Path

import pytest

from segbench.metrics.profiles import PROFILES
from tests.program import segbench, tiny


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("profiles") / "results"
    assert segbench(*tiny(out=out)).code == 0
    return out


def test_a_report_under_every_profile(store: Path) -> None:
    done = segbench("report", "contextrast-table6", "--profile", "all", "--out", store)
    assert done.code == 0, done.err
    assert all(f"\n{name}" in done.out for name in PROFILES)
    assert "points lie between" in done.out and "Verdicts rest on the profile standard" in done.out
    plain = segbench("report", "contextrast-table6", "--out", store)
    assert "per-image" not in plain.out


def test_for_programs(store: Path) -> None:
    lines = segbench("report", "--profile", "standard,micro", "--json", "--out", store).json
    assert [line["profile"] for line in lines] == ["standard", "micro"]
    (record,) = (json.loads(path.read_text()) for path in (store / "records").glob("*.json"))
    assert lines[0]["miou"] == pytest.approx(record["figures"]["miou"])
    assert lines[1]["dice"] == pytest.approx(record["figures"]["pixel_accuracy"])
    table = segbench("report", "--profile", "standard", "--format", "csv", "--out", store).out
    (row,) = csv.DictReader(io.StringIO(table))
    assert float(row["miou"]) == pytest.approx(lines[0]["miou"])


def test_of_a_checkpoint(store: Path) -> None:
    (weights,) = store.glob("trainings/*/last.safetensors")
    words = ("eval", "--checkpoint", weights, "--dataset", "camvid", "--profile", "micro", "--out", store)
    done = segbench(*words)
    assert done.code == 0 and "\nmicro " in done.out
    found = segbench(*words, "--json").json
    assert [line["profile"] for line in found["profiles"]] == ["micro"]
    assert found["profiles"][0]["accuracy"] == pytest.approx(found["figures"]["pixel_accuracy"])


def test_slips(store: Path) -> None:
    done = segbench("report", "--profile", "standrd", "--out", store)
    assert "No profile 'standrd'. Close: standard" in done.fails(2)
    done = segbench("eval", "--checkpoint", "x.pth", "--profile", "micr")
    assert "No profile 'micr'. Close: micro" in done.fails(2)
    done = segbench("report", "--profile", "all", "--format", "markdown", "--out", store)
    assert "Profiles come as terminal, csv or json" in done.fails(2)


def test_a_record_without_counts(store: Path) -> None:
    for path in (store / "records").glob("*.npz"):
        path.rename(path.with_suffix(".away"))
    done = segbench("report", "--profile", "all", "--out", store)
    assert done.code == 0 and "kept no counts of its images" in done.out
    for path in (store / "records").glob("*.away"):
        path.rename(path.with_suffix(".npz"))
