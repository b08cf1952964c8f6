"""Tables, records and verdicts as data frames."""

import pandas as pd
import pytest

from segbench.results.compare import compare_table
from segbench.results.frames import figures_frame, per_class_frame, records_frame, report_frame

T = "made-one"
BODY = """
rows:
  base: {figures: {camvid.test: {runs: 3, miou: "70.0", iou: {sky: {printed: "791.0", read_as: "91.0"}}}}}
  more:
    method: {alpha: 0.5}
    figures: {camvid.test: {miou: "72.0", miou_gain: {printed: "+2.0", over: base}}}
"""


def test_figures(lab):
    frame = figures_frame(lab(made_one=BODY).catalog)
    assert list(frame["printed"]) == ["70.0", "791.0", "72.0", "+2.0"]
    assert list(frame["value"]) == [70.0, 91.0, 72.0, 2.0]
    assert list(frame["runs"]) == [3, 3, "unstated", "unstated"]
    assert frame["baseline"].iloc[3] == "base"
    assert frame["class"].iloc[1] == "sky"


def test_report_and_classes(lab):
    lab = lab(made_one=BODY)
    for mean, seed in ((69.9, 0), (70.0, 1), (70.1, 2)):
        classes = {"sky": 80.0 + seed, "traffic light": None if seed else 7.0}
        lab.run(T, "base", [mean], seeds=[seed], per_class=classes)
    report = compare_table(lab.catalog, T, lab.store)
    frame = report_frame(report).set_index(["row", "metric"])
    assert frame.loc[("base", "miou"), "verdict"] == "reproduced"
    assert frame.loc[("base", "miou"), "measured"] == pytest.approx(70.0)
    assert pd.isna(frame.loc[("more", "miou"), "measured"])
    classes_frame = per_class_frame(report).set_index("class")
    assert classes_frame.loc["sky", "measured"] == pytest.approx(81.0)
    assert classes_frame.loc["sky", "difference"] == pytest.approx(-10.0)
    assert classes_frame.loc["traffic_light", "measured"] == pytest.approx(7.0)


def test_records(lab):
    lab = lab(made_one=BODY)
    assert records_frame(lab.store).empty
    provenance = {"device": "cpu", "precision": "float32"}
    lab.run(T, "base", [70.0, 71.0], timings={"train": 12.5}, provenance=provenance)
    frame = records_frame(lab.store).sort_values("seed")
    assert list(frame["miou"]) == [70.0, 71.0]
    assert list(frame["seconds_train"]) == [12.5, 12.5]
    assert set(frame["device"]) == {"cpu"}


def test_empty_frames_keep_their_columns(lab):
    lab = lab(made_one='rows:\n  base: {figures: {camvid.test: {miou: "70.0"}}}\n')
    report = compare_table(lab.catalog, T, lab.store)
    assert "difference" in per_class_frame(report).columns
    assert "id" in records_frame(lab.store).columns
