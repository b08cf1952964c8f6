"""Ctrl-C and kill: nothing computed is lost, and the same command goes on."""

import os
import re
import signal
from pathlib import Path

import pytest

from segbench.results.store import Store
from tests.program import ROW, start, tiny, wait
from tests.waiting import until, wait_for

LONG = {"schedule__steps": 400, "schedule__validate_every": 10}


def test_ctrl_c_saves_and_the_same_command_goes_on(tmp_path: Path) -> None:
    process = start(*tiny(out=tmp_path, **LONG))
    until(process, r"step 10: validation")
    process.send_signal(signal.SIGINT)
    done = wait(process)
    assert done.code == 130
    assert done.out == ""
    assert "Stopping after this step, and saving." in done.err
    assert "Traceback" not in done.err
    (step,) = re.findall(r"^Saved at step ([\d,]+)", done.err, flags=re.MULTILINE)
    assert done.lines[-1].startswith("Next: the same command")
    assert len(list(tmp_path.glob("trainings/*/state.pt"))) == 1

    again = start(*tiny(out=tmp_path, **LONG))
    assert f"goes on from step {step}" in until(again, r"goes on from step")
    again.send_signal(signal.SIGINT)
    until(again, r"^Stopping after this step, and saving\.")
    again.send_signal(signal.SIGINT)  # stops at once, or finds it stopped already
    done = wait(again)
    assert done.code == 130
    assert "Traceback" not in done.err
    assert len(list(tmp_path.glob("trainings/*/state.pt"))) == 1


def test_ctrl_c_while_scoring(tmp_path: Path, weights: Path) -> None:
    words = ["eval", "--checkpoint", weights, "--out", tmp_path, "--protocol", "ms-flip", "--scale", "1"]
    process = start(*words)
    until(process, r"evaluate: image 1 of")
    process.send_signal(signal.SIGINT)
    done = wait(process)
    assert done.code == 130
    assert "Stopped while scoring" in done.err and "Traceback" not in done.err
    assert not list(tmp_path.glob("records/*"))


def test_ctrl_c_before_anything_runs(tmp_path: Path) -> None:
    process = start(*tiny(out=tmp_path), PYTHONPROFILEIMPORTTIME="1")
    until(process, r"\| +torch\._utils$")  # of many modules that torch consists of, one of the first
    process.send_signal(signal.SIGINT)
    done = wait(process)
    assert done.code in (130, -signal.SIGINT)
    assert not list(tmp_path.glob("records/*"))


@pytest.mark.slow
def test_kill_9_and_the_same_command_goes_on(tmp_path: Path) -> None:
    words = tiny(out=tmp_path, schedule__steps=40, schedule__validate_every=10)
    process = start(*words)
    until(process, r"step 20: validation")
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not list(tmp_path.glob("records/*"))
    done = wait(start(*words))
    assert done.code == 0
    assert re.search(r"goes on from step (10|20|30)$", done.err, flags=re.MULTILINE)
    (killed,) = Store(tmp_path).records()

    whole = wait(start(*tiny(out=tmp_path / "whole", schedule__steps=40, schedule__validate_every=10)))
    assert whole.code == 0
    (straight,) = Store(tmp_path / "whole").records()
    numbers = ({**record.figures, "sec_per_iter": None} for record in (killed, straight))  # but times
    assert next(numbers) == next(numbers), "a kill changes no number"
    assert killed.validation["curve"][-1] == straight.validation["curve"][-1]


def test_kill_9_while_scoring_trains_nothing_again(tmp_path: Path) -> None:
    """What was trained before the kill is kept; the same command only scores."""
    words = tiny(out=tmp_path, schedule__steps=4, schedule__validate_every=4, evaluation__images=2000)
    process = start(*words)
    wait_for(lambda: list(tmp_path.glob("trainings/*/summary.json")), process=process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    (summary,) = tmp_path.glob("trainings/*/summary.json")
    before = summary.stat().st_mtime_ns
    assert not list(tmp_path.glob("records/*"))
    again = start(*words)
    assert "evaluate: image" in until(again, r"train: |evaluate: image")
    again.kill()
    again.communicate()
    assert summary.stat().st_mtime_ns == before


@pytest.mark.slow
def test_two_processes_at_one_training(tmp_path: Path) -> None:
    first = start(*tiny(out=tmp_path, **LONG))
    until(first, r"step 10: validation")
    second = wait(start(*tiny(ROW, out=tmp_path, **LONG)))
    assert second.code == 5
    assert "Another process is working on training" in second.err
    first.send_signal(signal.SIGINT)
    assert wait(first).code == 130


@pytest.mark.slow
def test_ctrl_c_saves_every_job(tmp_path: Path) -> None:
    """A terminal sends Ctrl-C to the children too; the parent alone decides, and they save."""
    words = tiny("contextrast-table6", "--jobs", 2, out=tmp_path, **LONG)
    process = start(*words, group=True)
    until(process, r"step 10: validation")
    os.killpg(process.pid, signal.SIGINT)
    done = wait(process)
    assert done.code == 130 and "Traceback" not in done.err
    saved = re.findall(r"^layers-[-\d]+ · camvid · seed 0: Saved at step ([\d,]+)\.", done.err, flags=re.MULTILINE)
    assert saved and done.lines[-1].startswith("Next: the same command")
    assert len(list(tmp_path.glob("trainings/*/state.pt"))) >= len(saved)
    again = start(*words)
    until(again, r"goes on from step")
    again.send_signal(signal.SIGINT)
    assert wait(again).code == 130
