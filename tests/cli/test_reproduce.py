"""``segbench reproduce``: the plan first, then the run, then the verdict; and nothing twice."""

import json
from pathlib import Path

import pytest

from segbench.cli import reproduce
from segbench.results.store import Store
from tests.program import ROW, Done, segbench, tiny

TABLE7 = {
    ("baseline", "params_m"): "70.01",
    ("baseline", "flops_g"): "1295.86",
    ("contextrast", "params_m"): "70.39",
    ("contextrast", "flops_g"): "1300.13",
    ("contextrast", "params_m_increase_percent"): "+0.54",
    ("contextrast", "flops_g_increase_percent"): "+0.33",
}


def test_dry_run_prints_the_plan_and_writes_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = segbench(*tiny("contextrast-table6", "--dry-run", out=out))
    assert done.code == 0
    assert done.err == ""
    assert "4 trainings to do" in done.out
    assert "Open readings used: " in done.out and "shared-anchor-weights=0.5/0.5" in done.out
    assert "from a short probe on this machine (cpu, " in done.out
    assert done.out.splitlines()[-1] == "Nothing has been started."
    assert not out.exists()


def test_dry_run_as_json(tmp_path: Path) -> None:
    plan = segbench(*tiny("contextrast-table6", "--dry-run", "--json", "--seeds", 2, out=tmp_path)).json
    assert (plan["schema"], plan["table"], plan["budget"], plan["trainings"]) == (1, "contextrast-table6", "smoke", 8)
    assert [(item["row"], item["seed"]) for item in plan["items"]][:3] == [
        ("layers-4", 0), ("layers-4", 1), ("layers-4-3", 0)
    ]  # fmt: skip
    assert all(item["steps"] == 4 and item["batch_total"] == 2 for item in plan["items"])
    assert plan["seconds"] == pytest.approx(sum(item["seconds"] for item in plan["items"]))
    assert plan["readings"]["ticked-layers"] == "anchor"
    assert plan["needs"] == []


def test_a_run_goes_all_the_way_to_its_verdict(trained: tuple[Path, Done]) -> None:
    out, done = trained
    assert "1 of 1  layers-4-3 · camvid · seed 0" in done.err
    assert "step 4: validation mIoU" in done.err
    assert "1 training to do" in done.err, "the plan belongs to the log of a run"
    assert "\x1b" not in done.out + done.err
    line = next(line for line in done.out.splitlines() if "83.13" in line)
    assert "not comparable" in line
    squeezed = " ".join(done.out.split())
    assert "deviations: generated scenes instead of camvid images, steps 4 of 6,000, " in squeezed
    every = segbench("report", "contextrast-table6", "--deviations", "--out", out).out
    assert "crop 64x64 of 360x480" in " ".join(every.split())
    assert done.out.rstrip().splitlines()[-1].startswith("0 of 4 reproduced, 1 not comparable, 3 not run")
    (record,) = Store(out).records()
    assert record.kind == "training" and record.budget == "smoke" and record.images == 4
    assert record.training_spec["stages"][0]["schedule"]["steps"] == 4
    assert record.provenance["device"] == "cpu" and record.provenance["segbench"]
    assert any(deviation["says"] == "steps 4 of 6,000" for deviation in record.deviations)
    counts = Store(out).counts(record)
    assert counts is not None and counts["matrix"].shape == (11, 11)


def test_the_second_run_does_nothing_anew(trained: tuple[Path, Done]) -> None:
    out, _ = trained
    files = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    done = segbench(*tiny(out=out))
    assert done.code == 0
    assert "0 trainings to do, 1 done" in done.err
    assert "1 of 1" not in done.err
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == files


def test_strict_makes_a_verdict_that_is_not_good_an_exit_code(trained: tuple[Path, Done]) -> None:
    done = segbench(*tiny(ROW, "--strict", "--quiet", out=trained[0]))
    assert done.code == 6
    assert done.err == "" and "not comparable" in done.out


def test_json_is_all_that_stands_on_stdout(trained: tuple[Path, Done]) -> None:
    done = segbench(*tiny(ROW, "--json", out=trained[0]))
    report = done.json["reports"][0]
    (figure,) = (entry for entry in report["figures"] if entry["printed"] == "83.13")
    assert figure["verdict"] == "not comparable"
    assert done.err != ""
    quiet = segbench(*tiny(ROW, "--json", "--quiet", out=trained[0]))
    assert (quiet.out, quiet.err) == (done.out, "")


def test_figures_that_need_no_training_come_out_to_the_printed_digit(tmp_path: Path) -> None:
    done = segbench("reproduce", "contextrast-table7", "--out", tmp_path, "--json")
    assert done.code == 0
    assert "2 counts to do, nothing to train" in done.err
    figures = {(entry["row"], entry["metric"]): entry for entry in done.json["reports"][0]["figures"]}
    assert len(figures) == 9
    for key, printed in TABLE7.items():
        assert figures[key]["printed"] == printed
        assert figures[key]["verdict"] == "reproduced"
    times = [entry for (_, metric), entry in figures.items() if metric.startswith("sec_per_epoch")]
    assert len(times) == 3
    assert all(entry["verdict"] == "unavailable" and "not timed" in entry["reason"] for entry in times)
    again = segbench("reproduce", "contextrast-table7", "--out", tmp_path)
    assert "2 done" in again.err
    assert again.code == 0


def test_the_full_budget_on_a_cpu_is_refused(camvid: Path, tmp_path: Path) -> None:
    words = ["reproduce", ROW, "--dataset", "camvid", "--device", "cpu", "--data-root", camvid, "--out", tmp_path]
    # A light network, so that the probe is quick, and so many steps that it would take days all the same.
    small = ["model.backbone.width=8", "schedule.crop=[32, 32]", "schedule.batch_total=2", "schedule.steps=100000000"]
    done = segbench(*words, *(word for setting in small for word in ("--set", setting)))
    text = done.fails(2)
    assert "at its full budget would take about " in text and " d " in text
    assert f"Next: segbench reproduce {ROW} --dataset camvid --budget small, or " in text and "--yes" in text
    assert not list(tmp_path.glob("trainings/*"))


def test_a_long_run_asks_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reproduce, "ASK_SECONDS", 0.0)
    for answer in ("n\n", "\n", ""):
        monkeypatch.setattr("sys.stdin", _Terminal(answer))
        done = segbench(*tiny(out=tmp_path))
        assert done.code == 130
        assert "Start? [y/N] Nothing has been started." in done.err
        assert done.out == ""
    assert not list(tmp_path.glob("trainings/*"))


class _Terminal:
    """Standard input with somebody before it."""

    def __init__(self, answer: str) -> None:
        self._answer = answer

    def isatty(self) -> bool:
        return True

    def readline(self, *_: int) -> str:
        return self._answer


def test_what_cannot_run_here_says_why(tmp_path: Path) -> None:
    words = ("--budget", "smoke", "--set", "model.decoder={name: not-there}")
    done = segbench("reproduce", "contextrast-table6/layers-4", *words, "--out", tmp_path)
    assert "waits for decoder not-there" in done.fails(3)
    done = segbench("reproduce", "contextrast-table6", "--dataset", "cityscapes", "--out", tmp_path)
    assert "waits for Cityscapes: missing" in done.fails(3)
    assert done.lines[-1] == "Next: segbench data download cityscapes"
    done = segbench("reproduce", ROW, "--dataset", "camvid", "--budget", "small", "--out", tmp_path)
    done.fails(3)
    assert "contextrast-table6 cannot run here: waits for CamVid: missing." in done.err
    assert done.lines[-1] == "Next: segbench data download camvid"
    asked = ("reproduce", "contextrast-table6", "--budget", "small", "--out", tmp_path, "--dry-run")
    plan = segbench(*asked)
    assert plan.code == 0
    assert "Needs:  CamVid, 0.2 GB." in plan.out
    assert "        Next: segbench data download camvid" in plan.out.splitlines()
    needs = {need["what"][:6]: need["next"] for need in segbench(*asked, "--json").json["needs"]}
    assert needs["CamVid"] == "segbench data download camvid"


def test_equal_trainings_of_two_tables_are_run_once(trained: tuple[Path, Done]) -> None:
    out, _ = trained
    alone = segbench(*tiny("contextrast-table6/layers-4-3-2-1", "--dry-run", "--json", out=out)).json["items"][0]
    other = segbench(*tiny("contextrast-table8a", "--dry-run", "--json", out=out)).json["items"]
    assert alone["training"] in {item["training"] for item in other}


def test_attempts_are_kept(trained: tuple[Path, Done]) -> None:
    (attempt,) = Store(trained[0]).attempts()
    assert (attempt.table, attempt.row, attempt.budget) == ("contextrast-table6", "layers-4-3", "smoke")
    assert attempt.settings["schedule.steps"] == 4
    (path,) = (trained[0] / "attempts").glob("*.json")
    assert json.loads(path.read_text())["dataset"] == "camvid"


def test_a_row_of_settings_shows_what_it_scored(tmp_path: Path) -> None:
    """It prints no figure in the publication, and is trained all the same."""
    done = segbench(*tiny("contextrast-table1/camvid-hrnet", out=tmp_path))
    assert done.code == 0
    (record,) = Store(tmp_path).records()
    assert "mIoU (%), nothing printed" in done.out
    assert f"{record.figures['miou']:.2f}  1 seed, budget smoke" in done.out


def test_rows_on_other_data(tmp_path: Path, camvid: Path) -> None:
    """Three steps of a Cityscapes row on CamVid, and what leads there."""
    table = "contrastiveseg-table2"
    lost = segbench("reproduce", table, "--dataset", "camvid", "--out", tmp_path)
    assert lost.code == 2
    assert lost.err.endswith(f"Next: segbench reproduce {table} --on camvid\n")
    few = ["--set=schedule.steps=3", "--set=schedule.validate_every=3", "--set=schedule.crop=[32,48]"]
    words = ["--on", "camvid", "--budget", "small", *few, "--data-root", camvid, "--out", tmp_path, "--device", "cpu"]
    for row in ("ce", "ce+lovasz"):
        done = segbench("reproduce", f"{table}/{row}", *words, "-y", "-q")
        assert done.code == 0, done
    assert "budget small, on camvid, --set schedule.steps=3" in " ".join(done.out.split())
    assert "+ Lovász Loss over Cross-Entropy Loss +2.2 " in " ".join(done.out.split())
    assert "data set camvid instead of cityscapes" in " ".join(done.out.split())
