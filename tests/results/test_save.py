"""Results that a project keeps."""

import json
from pathlib import Path

from segbench.recipe.resolve import Request
from segbench.results.compare import compare_table
from segbench.results.formats import render
from segbench.results.save import save_reports

T = "made-one"
BODY = 'rows: {base: {figures: {camvid.test: {miou: "70.0"}}}}\n'
COMMAND = "segbench reproduce made-one/base --data-root /some/where/data --out=/some/where/runs --set schedule.steps=50"


def test_reports_and_the_records_of_every_attempt_without_folders_of_the_machine(lab, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    lab = lab(made_one=BODY)
    provenance = {"command": COMMAND, "device": "cpu"}
    lab.run(T, "base", [70.1], provenance=provenance)
    changed = Request(settings=(("schedule.steps", 50),))
    lab.run(T, "base", [41.0], request=changed, asked=True, provenance=provenance)  # not the one shown
    report = compare_table(lab.catalog, T, lab.store)
    written = save_reports([report], tmp_path / "kept")
    assert {path.name for path in written} == {"report.md", "report.txt", "figures.csv", "records.json"}
    folder = tmp_path / "kept" / T
    assert (folder / "report.txt").read_text() == render(report)
    assert (folder / "figures.csv").read_text() == render(report, "csv")
    text = (folder / "records.json").read_text()
    assert "/some/where" not in text
    kept = json.loads(text)
    assert [record["figures"] for record in kept] == [{"miou": 70.1}, {"miou": 41.0}]
    command = "segbench reproduce made-one/base --data-root data --out runs --set schedule.steps=50"
    assert kept[0]["provenance"] == {"command": command, "device": "cpu"}
