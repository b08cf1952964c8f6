"""Recipes of the user's own, found without ``--recipe``."""

import json
from pathlib import Path

import pytest

from tests.program import segbench
from tests.recipe.made import HEAD, ROWS


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "recipes"
    folder.mkdir()
    (folder / "mine.yaml").write_text(HEAD.replace("made-one", "mine") + ROWS)
    return folder


def test_every_command_finds_them(tmp_path: Path) -> None:
    assert "Your own: 1 table, 2 row x data set pairs" in segbench("list").out
    assert "mine/base" in segbench("show", "mine/base").out
    assert [row["row"] for row in json.loads(segbench("list", "mine", "--json").out)] == ["base", "more"]
    done = segbench("reproduce", "mine", "--budget", "smoke", "--dry-run", "--out", tmp_path / "out")
    assert "mine" in done.out
    assert "mine" in segbench("report", "mine", "--out", tmp_path / "out").out


def test_a_broken_one_is_a_warning_until_it_is_asked_for(place: Path) -> None:
    broken = HEAD.replace("made-one", "broken").replace("{name: concat}", "{name: concat, haed: conv1x1}") + ROWS
    (place / "broken.yaml").write_text(broken)
    done = segbench("list", "--json")
    assert any(row["table"] == "mine" for row in json.loads(done.out))
    assert done.lines == ["Ignored recipes/broken.yaml: 2 faults. Next: segbench list --recipe recipes/broken.yaml"]
    assert segbench("show", "broken/base").fails(4).count("unknown key 'haed'") == 2
    assert "unknown key 'haed'" in segbench("list", "--recipe", "recipes/broken.yaml").fails(4)


def test_figures_are_of_the_data_that_is_scored(place: Path) -> None:
    (place / "moved.yaml").write_text((HEAD.replace("made-one", "moved") + ROWS).replace("camvid.test", "ade20k.val"))
    assert "figures on ade20k, but data.name is camvid" in segbench("show", "moved/base").fails(4)


def test_a_base_in_the_same_table(place: Path) -> None:
    rows = ROWS.replace("  more:\n", "  more:\n    base: base\n")
    (place / "short.yaml").write_text(HEAD.replace("made-one", "short") + rows)
    assert "no row 'base'; a base is written TABLE/ROW: short/base" in segbench("show", "short/more").fails(4)
