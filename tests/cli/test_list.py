"""``segbench list``: what there is, and what runs."""

import re

from tests.program import segbench

FIGURE_KEYS = {
    "table", "row", "dataset", "split", "metric", "class", "printed", "value", "baseline", "runs", "note",
}  # fmt: skip


def test_rows_as_json() -> None:
    rows = segbench("list", "--json").json
    assert len({(row["table"], row["row"]) for row in rows}) == len(rows) > 90
    for row in rows:
        assert {"table", "row", "datasets", "method", "model", "status"} <= set(row)
        assert row["datasets"] and isinstance(row["datasets"], list)
        assert row["status"] == "runnable" or row["status"].startswith("waiting: ")
        assert set(row["status_by_dataset"]) == set(row["datasets"])
    by_row = {(row["table"], row["row"]): row for row in rows}
    one = by_row["contextrast-table6", "layers-4-3"]
    assert one["method"] == "contextrast"
    assert one["model"].startswith("HRNetV2-W48")
    assert one["datasets"] == ["cityscapes", "camvid"]
    assert one["status_by_dataset"] == {"cityscapes": "runnable", "camvid": "runnable"}
    assert by_row["contrastiveseg-table1", "segsort"]["status"] == "runnable"


def test_figures_as_json() -> None:
    every = segbench("list", "--figures", "--json").json
    figures = [figure for figure in every if figure["table"] != "contextrast-main-table1"]
    assert (len(figures), len(every)) == (697, 742), "of the supplements, and all"
    assert all(set(figure) == FIGURE_KEYS for figure in figures)
    assert all(isinstance(figure["printed"], str) and isinstance(figure["value"], float) for figure in figures)
    assert sum(figure["baseline"] is not None for figure in figures) == 50
    wanted = {"table": "contextrast-table6", "row": "layers-4-3", "dataset": "camvid", "metric": "miou_gain"}
    (found,) = (figure for figure in figures if wanted.items() <= figure.items())
    assert found == {
        **wanted, "split": "unstated", "class": None, "printed": "-1.20", "value": -1.2,
        "baseline": "layers-4-3-2-1", "runs": "unstated", "note": None,
    }  # fmt: skip


def test_one_table() -> None:
    rows = segbench("list", "contextrast-table6", "--json").json
    assert [row["row"] for row in rows] == ["layers-4", "layers-4-3", "layers-4-3-2", "layers-4-3-2-1"]
    figures = segbench("list", "contextrast-table6", "--figures", "--json").json
    assert len(figures) == sum(row["figures"] for row in rows) == 14


def test_the_overview_counts_what_the_rows_say() -> None:
    text = segbench("list").out
    rows = segbench("list", "--json").json
    tables = len({row["table"] for row in rows if not row["additional"]})
    assert f"{tables} tables, 107 row x data set pairs with figures, 697 printed figures." in text
    assert {row["table"] for row in rows if row["additional"]} == {"contextrast-main-table1", "segbench-camvid-mobile"}
    assert "2 tables, 45 row x data set pairs with figures, 45 printed figures." in text
    for table in {row["table"] for row in rows}:
        assert len(re.findall(rf"\b{table}\b +\d+", text)) == 1
    assert text.splitlines()[-1].startswith("Next: segbench ")


def test_every_next_command_of_the_lists_works() -> None:
    for words in (["list"], ["list", "contextrast-table6"], ["list", "semiseg-table1"], ["list", "--figures"]):
        done = segbench(*words)
        follow = re.findall(r"^Next: segbench (.*)$", done.out, flags=re.MULTILINE)
        assert follow
        for command in follow:
            if "reproduce" not in command:
                assert segbench(*command.split()).code == 0


def test_an_own_recipe_is_listed(tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "mine.yaml"
    path.write_text(
        """
schema: 1
version: 1
table: mypaper-table2
title: About [brackets] and 100 %
source: My paper, Table 2
base: {camvid: contextrast-table1/camvid-hrnet}
rows:
  no-flip:
    augmentation: {flip: 0.0}
    figures:
      camvid.test: {miou: "81.2"}
"""
    )
    assert "mypaper-table2" in segbench("list", "--recipe", path).out
    assert "[brackets]" in segbench("list", "mypaper-table2", "--recipe", path).out
    (row,) = segbench("list", "mypaper-table2", "--recipe", path, "--json").json
    assert (row["paper"], row["status"]) == ("own", "runnable")
    shown = segbench("show", "mypaper-table2/no-flip", "--recipe", path)
    assert re.search(r"augmentation\.flip +0 +row no-flip · My paper, Table 2 +mine\.yaml:10", shown.out)
