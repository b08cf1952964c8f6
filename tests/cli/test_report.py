"""``segbench report``: four formats, one content."""

import csv
import io
import json
from pathlib import Path

import pytest

from tests.program import Done, segbench


def report(trained: tuple[Path, Done], *words: str) -> Done:
    done = segbench("report", *words, "--out", trained[0])
    assert done.code == 0, done.err
    return done


def test_nothing_yet_names_the_first_step(tmp_path: Path) -> None:
    done = segbench("report", "--out", tmp_path)
    assert done.code == 0
    assert done.out.splitlines() == [
        f"There are no results yet in {tmp_path}.",
        "Next: segbench reproduce contextrast-table6 --budget smoke",
    ]
    assert segbench("report", "--json", "--out", tmp_path).json == {"schema": 1, "reports": []}
    rows = list(csv.DictReader(io.StringIO(segbench("report", "--format", "csv", "--out", tmp_path).out)))
    assert rows == []


def test_terminal(trained: tuple[Path, Done]) -> None:
    done = report(trained, "contextrast-table6", "--dataset", "camvid")
    assert done.out == trained[1].out, "what the run printed is the report"
    assert done.err == ""
    assert "\x1b" not in done.out
    per_class = report(trained, "contextrast-table6", "--per-class").out
    assert "pedestrian" in per_class and "pedestrian" not in done.out


def test_the_next_command_repeats_what_was_given(trained: tuple[Path, Done]) -> None:
    """In the terminal alone: what is kept or passed on says nothing of this machine's folders."""
    given = f"--dataset camvid --out {trained[0]}"
    command = f"segbench reproduce contextrast-table6 --budget smoke {given}"
    assert f"Next: {command}\n" in trained[1].out
    text = report(trained, "contextrast-table6", "--dataset", "camvid", "--format", "markdown").out
    assert command.removesuffix(f" {given}") in text and str(trained[0]) not in text


def test_markdown(trained: tuple[Path, Done]) -> None:
    text = report(trained, "contextrast-table6", "--format", "markdown", "--per-class").out
    assert text.startswith("# contextrast-table6: ")
    assert "| 4, 3 | 83.13 |" in text
    assert "not comparable" in text


def test_json_and_csv_agree(trained: tuple[Path, Done]) -> None:
    figures = report(trained, "contextrast-table6", "--json").json["reports"][0]["figures"]
    assert report(trained, "contextrast-table6", "--format", "json").json["reports"][0]["figures"] == figures
    rows = list(csv.DictReader(io.StringIO(report(trained, "contextrast-table6", "--format", "csv").out)))
    assert [row["printed"] for row in rows] == [figure["printed"] for figure in figures]
    assert [row["verdict"] for row in rows] == [figure["verdict"] for figure in figures]
    assert len(rows) == 14


def test_save_writes_reports_and_says_so_on_stderr(trained: tuple[Path, Done], tmp_path: Path) -> None:
    done = report(trained, "contextrast-table6", "--save", str(tmp_path), "--json")
    assert done.json["schema"] == 1
    folder = tmp_path / "contextrast-table6"
    written = {folder / name for name in ("report.md", "report.txt", "figures.csv", "records.json")}
    assert {Path(line.removeprefix("wrote ")) for line in done.err.splitlines()} == written
    assert all(path.is_file() for path in written)
    assert len(json.loads((folder / "records.json").read_text())) == 1


def test_without_a_table_all_that_have_results(trained: tuple[Path, Done]) -> None:
    names = [entry["table"] for entry in report(trained, "--json").json["reports"]]
    assert names == ["contextrast-table6"]


def test_strict(trained: tuple[Path, Done], tmp_path: Path) -> None:
    assert segbench("report", "contextrast-table6", "--strict", "--out", trained[0]).code == 6
    assert segbench("report", "--strict", "--out", tmp_path).code == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["contextrast-table66"], "No table 'contextrast-table66'. Close: contextrast-table6"),
        (["--format", "latex"], "No format 'latex'. Known: csv, json, markdown, terminal."),
        (["contextrast-table6", "--dataset", "ade"], "contextrast-table6 has no figures on 'ade'"),
    ],
)
def test_misuse(words: list[str], says: str, tmp_path: Path) -> None:
    done = segbench("report", *words, "--out", tmp_path)
    assert says in done.fails(2)
