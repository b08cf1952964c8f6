"""What the README claims, held against the program."""

import re
from pathlib import Path

from segbench.core.errors import ExitCode
from segbench.recipe.catalog import add_file, default_catalog, load_catalog, recipes_root
from segbench.recipe.resolve import resolve

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_exit_codes_are_those_of_the_program() -> None:
    table = dict(re.findall(r"^\| (\d+) \| (.+?) \|$", README, flags=re.MULTILINE))
    assert {int(code) for code in table} == {int(code) for code in ExitCode}


def counted(*, additional: bool) -> tuple[int, int, int]:
    """Tables, row x data set pairs with figures, figures: of the supplements, or beside them."""
    tables = [table for table in default_catalog().tables.values() if table.file.additional == additional]
    figures = [figure for table in tables for figure in table.figures()]
    return len(tables), len({(figure.table, figure.row, figure.dataset) for figure in figures}), len(figures)


def test_counts_are_those_of_the_recipes() -> None:
    text = " ".join(README.split())
    tables, pairs, figures = counted(additional=False)
    assert f"{tables} tables of the supplements" in text
    assert f"{pairs} row x data set pairs with figures, {figures} printed figures" in text
    tables, pairs, figures = counted(additional=True)
    assert tables == 2 and "Two tables more: contextrast-main-table1 is the main paper's" in text
    assert "segbench-camvid-mobile is no publication's" in text
    assert f"{pairs} pairs, {figures} figures" in text


def test_papers_table_counts_figures() -> None:
    printed = {
        "Contextrast": "contextrast",
        "ContrastiveSeg": "contrastiveseg",
        "SemiSeg": "semiseg",
        "Label-efficient": "label-efficient",
        "CFN": "cfn",
    }
    for title, paper in printed.items():
        row = re.search(rf"^\| {title}[^|]*\|[^|]*\| (\d+)(?: \+ (\d+))? \|", README, flags=re.MULTILINE)
        assert row is not None, title
        of_paper = [table for table in default_catalog().tables.values() if table.paper == paper]
        for group, additional in ((1, False), (2, True)):
            tables = [table for table in of_paper if table.file.additional == additional]
            assert int(row.group(group) or 0) == sum(len(table.figures()) for table in tables)


def test_the_recipe_example_is_a_recipe(tmp_path: Path) -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", README, flags=re.DOTALL)
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    catalog = load_catalog(recipes_root())
    add_file(catalog, path)
    row = resolve(catalog, "mypaper-table2", "no-flip", "camvid")
    assert row.unsupported == []
    assert row.ran.training is not None
    (stream,) = row.ran.training.stages[0].streams.values()
    assert stream.augmentation.flip == 0.0
    assert "crop-order" in [use.name for use in row.readings]


def test_excerpts_stand_in_the_results_that_the_project_keeps() -> None:
    """Every line of a terminal excerpt is a line of a file below results/."""
    results = Path(__file__).parents[1] / "results"
    kept = "\n".join(path.read_text(encoding="utf-8") for path in results.rglob("*.txt"))
    excerpts = re.findall(r"<!-- excerpt: (\S+) -->\n```\n(.*?)```", README, flags=re.DOTALL)
    assert {name for name, _ in excerpts} == {"table7", "table2", "verify", "bench"}
    for name, text in excerpts:
        for line in text.splitlines():
            assert line.startswith("$ ") or line in kept.splitlines(), (name, line)
