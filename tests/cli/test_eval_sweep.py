"""``segbench eval --sweep``: it finds the conventions that a network was made for, and says so."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from segbench.checkpoints import families
from segbench.core.errors import Interrupted
from segbench.core.spec import DataSpec, EvaluationSpec
from segbench.data.prepared.folder import _Decoded
from segbench.reproduce.evaluate import sweep as sweeping
from segbench.reproduce.evaluate.sweep import SweepPoint, best_of, parse_axes, rows_of
from tests.cli.test_eval_own_code import CODE, nearest
from tests.foreign_family import MOON, write_moon
from tests.program import Done, segbench


@pytest.fixture(autouse=True)
def _code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = list(sys.path)
    (tmp_path / "mynets.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    yield
    sys.path[:] = before
    sys.modules.pop("mynets", None)


@pytest.fixture
def blue(tmp_path: Path) -> Path:
    """A network that was made for BGR images, and whose file does not say so."""
    torch.save({f"conv.{name}": value for name, value in nearest("cityscapes", channels="bgr").state_dict().items()},
               tmp_path / "blue.pth")  # fmt: skip
    return tmp_path / "blue.pth"


def sweep(path: Path, *words: object, data: Path, out: Path) -> Done:
    return segbench("eval", "--checkpoint", path, "--model", "mynets:build", "--dataset", "cityscapes", "--data-root",
                    data, "--out", out, "--sweep", *words)  # fmt: skip


def rows(done: Done) -> list[dict[str, Any]]:
    return done.json["combinations"]


def test_a_network_for_bgr_is_found_out(blue: Path, cityscapes: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = sweep(blue, "--axes", "channels,normalisation", "--json", data=cityscapes, out=out)
    assert done.code == 0, done.err
    found = done.json
    assert found["best"]["channels"] == "BGR" and found["best"]["normalisation"] == "ImageNet"
    values = [row["miou"] for row in rows(done)]
    assert values == sorted(values, reverse=True)
    excluded = {
        (row["channels"], row["normalisation"]): row["miou"] for row in rows(done) if row["absent"] == "excluded"
    }
    assert len(excluded) == 6
    gain = excluded["BGR", "ImageNet"] - excluded["RGB", "ImageNet"]
    assert found["says"][0] == f"This checkpoint behaves like one trained on BGR input ({gain:+.1f} over RGB)."
    assert found["options"] == "--channels bgr"
    plain = segbench("eval", "--checkpoint", blue, "--model", "mynets:build", "--dataset", "cityscapes", "--channels",
                     "bgr", "--data-root", cityscapes, "--out", out, "--json").json  # fmt: skip
    assert plain["id"] == found["best"]["evaluation"] and plain["figures"]["miou"] == found["best"]["miou"]


def test_every_combination_is_a_record_and_done_once(
    blue: Path, cityscapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, read = tmp_path / "out", []
    before = _Decoded.read

    def watched(self: Any, index: int) -> Any:
        read.append(index)
        return before(self, index)

    monkeypatch.setattr(_Decoded, "read", watched)
    done = sweep(blue, "--axes", "channels,align", "--json", data=cityscapes, out=out)
    assert read == [0, 1], "each image is read once for all combinations"
    ids = {row["evaluation"] for row in rows(done)}
    assert len(ids) == len(rows(done))
    assert {path.stem for path in (out / "records").glob("*.json")} == ids
    for row in rows(done):
        record = json.loads((out / "records" / f"{row['evaluation']}.json").read_text())
        assert record["figures"]["miou"] == row["miou"]
        assert record["evaluation_spec"].get("absent", "exclude") in row["absent"]
        with np.load(out / "records" / record["counts"]) as counts:
            assert counts["target"].shape == (2, 19)
    again = sweep(blue, "--axes", "channels,align", "--json", data=cityscapes, out=out)
    assert rows(again) == rows(done) and read == [0, 1], "and taken from the store later"


def test_rules_for_absent_classes_come_from_the_same_counts() -> None:
    """Three classes: IoU 1/2, 0 (predicted alone), and one that is neither labelled nor predicted."""
    counts = {"true_positive": np.array([[3, 0, 0], [1, 0, 0]]), "predicted": np.array([[3, 1, 0], [2, 0, 0]]),
              "target": np.array([[4, 0, 0], [3, 0, 0]])}  # fmt: skip
    point = SweepPoint(None, EvaluationSpec(data=DataSpec(name="camvid"), absent="zero"))  # type: ignore[arg-type]
    rows = {row.absent: row.miou for row in rows_of(point, counts)}
    assert rows == pytest.approx({"exclude": 100 * 0.5 / 2, "zero": 100 * 0.5 / 3, "one": 100 * 1.5 / 3})
    assert best_of(rows_of(point, counts), "zero").absent == "zero", "the rule that was asked for decides"
    present = {name: array[:, :2] for name, array in counts.items()}
    assert [row.absent for row in rows_of(point, present)] == ["zero"], "the others say the same"


def test_scales_and_windows_are_tried_with_what_leads(blue: Path, cityscapes: Path, tmp_path: Path) -> None:
    words = ["--axes", "channels,scales,window", "--window", "16x32", "--protocol", "slide"]
    done = sweep(blue, *words, "--json", data=cityscapes, out=tmp_path)
    seen = {(row["channels"], row["scales"], row["window"]) for row in rows(done)}
    assert seen == {
        ("RGB", "single", "16x32"),
        *(("BGR", scales, window) for scales in ("single", "ms + flip") for window in ("16x32", "whole")),
    }
    text = sweep(blue, *words, data=cityscapes, out=tmp_path).out
    assert text.splitlines()[0].startswith("Recognised: mynets:build")
    assert text.splitlines()[1].startswith("cityscapes val, ")
    assert text.splitlines()[2].split()[:3] == ["channels", "scales", "window"]
    assert text.splitlines()[-1].startswith("Next: segbench eval --checkpoint ") and "--channels bgr" in text


def test_the_own_conventions_of_another_project(camvid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(families, "registered", lambda: {"moon": MOON})
    path = write_moon(tmp_path / "moon.pth")
    words = ["eval", "--checkpoint", path, "--data-root", camvid, "--out", tmp_path]
    done = segbench(*words, "--sweep", "--json")
    assert done.code == 0, done.err
    own = [row for row in rows(done) if row["absent"] == "excluded"]
    # 2 orders of channels, 3 normalisations, both ways to resize; then windows, ms + flip and both
    assert len(own) == 2 * 3 * 2 + 3
    assert {row["window"] for row in own} == {"whole", "32x32"}
    plain = segbench(*words, "--json").json
    wanted = {"channels": "BGR", "normalisation": "ImageNet", "align": "True", "scales": "single", "window": "whole"}
    declared = next(row for row in own if wanted.items() <= row.items())
    assert plain["id"] == declared["evaluation"] and plain["figures"]["miou"] == declared["miou"]
    turned = segbench(*words, "--no-align-corners", "--json").json
    (row,) = [row for row in own if row["evaluation"] == turned["id"]]
    assert row["align"] == "False" and row["miou"] == turned["figures"]["miou"]
    assert turned["figures"]["miou"] != plain["figures"]["miou"]


def test_stopped_in_the_second_pass(
    blue: Path, cityscapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    before = sweeping.run_job

    def once(*words: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) > 1:
            raise Interrupted("Stopped while scoring; what was trained is kept.", next="the same command again")
        return before(*words, **named)

    monkeypatch.setattr(sweeping, "run_job", once)
    done = sweep(blue, "--axes", "channels,scales", data=cityscapes, out=tmp_path)
    text = done.fails(130)
    assert "BGR" in text and "RGB" in text, "the finished combinations are shown"
    assert len(list(tmp_path.glob("records/*.json"))) >= 2
    monkeypatch.setattr(sweeping, "run_job", before)
    calls.clear()
    assert sweep(blue, "--axes", "channels,scales", data=cityscapes, out=tmp_path).code == 0


def test_nothing_to_find(cityscapes: Path, tmp_path: Path) -> None:
    torch.save(
        {f"conv.{name}": value for name, value in nearest("cityscapes").state_dict().items()}, tmp_path / "red.pth"
    )
    done = sweep(tmp_path / "red.pth", "--axes", "channels", data=cityscapes, out=tmp_path / "out")
    assert "The checkpoint's own conventions are the best of these: a lower figure has another cause." in done.out
    assert done.out.splitlines()[-1] == "Next: segbench data verify cityscapes"
    assert parse_axes("window, channels") == ("channels", "window")
