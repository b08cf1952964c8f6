"""What a project keeps of its results."""

import json
from pathlib import Path

from segbench.results.record import Record
from segbench.results.save import save_reports
from segbench.results.store import Store
from segbench.results.verdicts import RowReport, TableReport, Tried

COMMAND = (
    "segbench reproduce contextrast-table6/layers-4 --dataset camvid --data-root /some/where/data "
    "--out=/some/where/runs --set schedule.optimizer.lr=1e-2"
)


def test_kept_records_name_no_folder_of_the_machine(tmp_path: Path, monkeypatch) -> None:
    record = Record(
        id="e1", kind="training", training="t1", family="f1", dataset="camvid", split="test",
        figures={"miou": 41.0}, provenance={"command": COMMAND, "device": "cpu"},
    )  # fmt: skip
    store = Store(tmp_path / "store")
    store.write(record)
    monkeypatch.setattr("segbench.results.save.render", lambda *_, **__: "text")
    tried = Tried(resolved=None, records=(record,))  # type: ignore[arg-type]
    # An attempt that is not the one shown is kept too.
    row = RowReport("layers-4", "4", "camvid", plain=None, attempts=(tried,))  # type: ignore[arg-type]
    report = TableReport("contextrast-table6", "title", "source", 1, entries=(), rows=(row,))
    save_reports([report], store, tmp_path / "kept")
    text = (tmp_path / "kept" / "contextrast-table6" / "records.json").read_text()
    assert "/some/where" not in text
    (kept,) = json.loads(text)
    assert kept["figures"] == {"miou": 41.0}
    assert kept["provenance"]["command"].startswith("segbench reproduce contextrast-table6/layers-4 --dataset camvid")
    assert "--data-root data" in kept["provenance"]["command"]
