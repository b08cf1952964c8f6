"""The report object of notebooks."""

import pytest

from segbench.core.errors import UsageFault
from segbench.recipe.resolve import Request
from segbench.results.report import load_report

BODY = """
rows:
  base: {figures: {camvid.test: {miou: "70.0", iou: {sky: "90.0"}}}}
  more: {method: {alpha: 0.5}, figures: {camvid.test: {miou: "72.0"}, voc2012.val: {miou: "60.0"}},
         datasets: {voc2012: {data: {name: voc2012}, evaluation: {split: val}}}}
"""


def test_all_tables_with_results_in_one_frame(lab) -> None:  # type: ignore[no-untyped-def]
    lab = lab(made_one=BODY, made_two=BODY, made_three=BODY.replace("alpha", "temperature").replace("base:", "other:"))
    nothing = load_report(store=lab.store, catalog=lab.catalog)
    assert nothing.tables == () and nothing.frame().empty and "verdict" in nothing.frame().columns
    lab.run("made-one", "more", [71.9, 72.0, 72.1], per_class={"sky": 80.0})
    report = load_report(store=lab.store, catalog=lab.catalog)
    frame = report.frame()
    assert list(dict.fromkeys(frame["table"])) == ["made-one", "made-two"]
    twin = frame[(frame["table"] == "made-two") & (frame["row"] == "more") & (frame["dataset"] == "camvid")]
    assert twin["measured"].item() == pytest.approx(72.0), "an equal training"
    classes = report.per_class_frame().set_index(["table", "row", "class"])
    assert classes.loc[("made-one", "more", "sky"), "measured"] == 80.0
    assert "| more | 72.0 | 72.00 ± 0.10 |" in report.to_markdown()


def test_all_tables_on_one_data_set(lab) -> None:  # type: ignore[no-untyped-def]
    lab = lab(made_one=BODY, made_two='rows: {base: {figures: {camvid.test: {miou: "70.0"}}}}\n')
    lab.run("made-one", "more", [60.1], dataset="voc2012")
    lab.run("made-two", "base", [70.1])
    report = load_report(store=lab.store, catalog=lab.catalog, dataset="voc2012")
    assert [table.table for table in report.tables] == ["made-one"]
    assert list(report.frame()["dataset"]) == ["voc2012"]
    with pytest.raises(UsageFault, match=r"No table has figures on 'voc2011'\. Close: voc2012"):
        load_report(store=lab.store, catalog=lab.catalog, dataset="voc2011")


def test_one_table_and_one_data_set(lab) -> None:  # type: ignore[no-untyped-def]
    lab = lab(made_one=BODY)
    report = load_report("made-one", store=lab.store, catalog=lab.catalog, dataset="voc2012")
    assert list(report.frame()["printed"]) == ["60.0"]
    assert str(report).splitlines()[0] == "made-one: A made table"
    with pytest.raises(UsageFault, match="Close: made-one"):
        load_report("made-onee", store=lab.store, catalog=lab.catalog)
    with pytest.raises(UsageFault, match="no figures on 'voc'"):
        load_report("made-one", store=lab.store, catalog=lab.catalog, dataset="voc")


def test_runs_of_one_budget_alone(lab) -> None:  # type: ignore[no-untyped-def]
    """The full run comes first unless another budget is asked for; attempts stay counted."""
    lab = lab(made_one=BODY)
    lab.run("made-one", "base", [70.0, 70.1, 69.9])
    lab.run("made-one", "base", [30.0], request=Request("small"), asked=True)

    def judged(budget: str | None) -> tuple[str, float | None]:
        report = load_report(store=lab.store, catalog=lab.catalog, budget=budget)
        (entry,) = [
            each for each in report.tables[0].entries if each.figure.row == "base" and not each.figure.class_name
        ]
        return entry.verdict, entry.measured

    assert judged(None) == judged("full") == ("reproduced", pytest.approx(70.0))
    assert judged("small") == ("not comparable", 30.0)
    assert load_report(store=lab.store, catalog=lab.catalog, budget="tiny").tables == ()
    with pytest.raises(UsageFault, match=r"No budget 'smal'\. Close: small"):
        load_report(store=lab.store, catalog=lab.catalog, budget="smal")
