"""The catalog's figures are the printed ones; ``published.csv`` was typed from the supplements."""

import csv
from pathlib import Path

from segbench.recipe.catalog import Catalog, Table
from segbench.recipe.figures import Figure

COLUMNS = ("table", "row", "dataset", "split", "metric", "class", "printed", "read_as", "baseline", "runs", "note")
Entries = list[dict[str, str]]


def columns(figure: Figure) -> dict[str, str]:
    return {
        "table": figure.table, "row": figure.row, "dataset": figure.dataset, "split": figure.split,
        "metric": figure.metric, "class": figure.class_name or "", "printed": figure.printed,
        "read_as": figure.read_as or "", "runs": str(figure.runs or 1),
        "baseline": (figure.over or "") if figure.is_relative else "",
        "note": figure.note or "",
    }  # fmt: skip


def published() -> dict[str, Entries]:
    """Rows of the file by table, in its order."""
    found: dict[str, Entries] = {}
    with Path(__file__).with_name("published.csv").open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        assert tuple(reader.fieldnames or ()) == COLUMNS
        for entry in reader:
            found.setdefault(entry["table"], []).append(entry)
    return found


def by_group(entries: Entries) -> dict[str, dict[tuple[str, str], Entries]]:
    """Entries of each row and split in their order, by data set: the one freedom of order that a recipe has."""
    found: dict[str, dict[tuple[str, str], Entries]] = {}
    for entry in entries:
        group = found.setdefault(entry["dataset"], {})
        group.setdefault((entry["row"], entry["split"]), []).append(entry)
    return found


def of_supplements(catalog: Catalog) -> dict[str, Table]:
    return {name: table for name, table in catalog.tables.items() if not table.file.additional}


def test_every_figure_in_every_column_and_in_order(shipped: Catalog) -> None:
    printed = {name: found for name, table in of_supplements(shipped).items() if (found := table.figures())}
    truth = published()
    assert printed.keys() == truth.keys()
    for name, entries in truth.items():
        assert len(printed[name]) == len(entries)
        ours, theirs = by_group([columns(figure) for figure in printed[name]]), by_group(entries)
        assert ours == theirs
        for dataset, groups in theirs.items():
            assert list(dict.fromkeys(row for row, _ in ours[dataset])) == list(dict.fromkeys(row for row, _ in groups))


def test_numbers_of_tables_pairs_and_figures(shipped: Catalog) -> None:
    figures = [figure for table in of_supplements(shipped).values() for figure in table.figures()]
    assert len(figures) == 697
    assert sum(figure.is_relative for figure in figures) == 50
    assert len({(figure.table, figure.row, figure.dataset) for figure in figures}) == 107
    assert len({figure.table for figure in figures}) == 15
    settings = [name for name, table in shipped.tables.items() if not table.figures()]
    assert set(settings) == {
        "contextrast-table1", "label-efficient-figure1", "label-efficient-figure2", "semiseg-reference",
        "segbench-camvid-mobile",
    }  # fmt: skip
    assert len(shipped.table("contextrast-table1").file.rows) == 17
    assert {table.paper for table in shipped.tables.values()} == {*shipped.papers}
    assert shipped.tables.keys() - of_supplements(shipped).keys() == {
        "contextrast-main-table1", "segbench-camvid-mobile",
    }  # fmt: skip


def test_a_slip_is_kept_as_printed_and_read_otherwise(shipped: Catalog) -> None:
    (figure,) = [figure for figure in shipped.table("semiseg-table3").figures() if figure.read_as]
    assert (figure.printed, figure.value, figure.class_name, figure.runs) == ("791.0", 91.0, "sky", 3)


def test_half_a_digit_comes_from_the_print() -> None:
    figure = Figure("t", "r", "camvid", "test", "miou_gain", "+2.50", over="base")
    assert (figure.half_digit, figure.decimals, figure.base_metric, figure.value) == (0.005, 2, "miou", 2.5)
    assert Figure("t", "r", "camvid", "test", "params_m", "70").half_digit == 0.5
