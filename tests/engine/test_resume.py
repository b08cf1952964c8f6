"""N steps are k steps, a stop, and N - k steps: bit by bit, whatever the method and however it was stopped."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from segbench.checkpoints import training_state
from segbench.cli.stopping import Stopper
from segbench.core.errors import Interrupted, InvalidFault, RunFault
from segbench.core.progress import Observer, Progress
from segbench.engine.folder import LAST, STATE, SUMMARY
from tests.engine.conftest import Straight
from tests.engine.tiny import EVERY_STEP, METHODS, after, last, same, stage, stopped, train
from tests.waiting import wait_for

DECIDING = ("step", "best", "weights", "method", "optimizer", "rng")  # the rest depends on the clock


def deciding(state: dict[str, Any]) -> dict[str, Any]:
    return {key: state[key] for key in DECIDING}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_stopped_and_resumed_equals_straight_through(
    tmp_path: Path, straight: Straight, method: str, optimizer: str
) -> None:
    spec = stage(method, optimizer=optimizer, steps=5)
    stopped(spec, tmp_path / "parts", 2)
    parts = stopped(spec, tmp_path / "parts", 4)
    assert same(deciding(parts), deciding(stopped(spec, tmp_path / "other", 4)))
    assert train(spec, tmp_path / "parts").steps == 5
    assert same(last(tmp_path / "parts"), last(straight(spec)))
    assert not (tmp_path / "parts" / STATE).exists()


def test_stopped_after_every_step(tmp_path: Path, straight: Straight) -> None:
    spec = stage("contextrast", steps=4)
    for step in (1, 2, 3):
        stopped(spec, tmp_path / "parts", step)
    train(spec, tmp_path / "parts")
    assert same(last(tmp_path / "parts"), last(straight(spec)))


def _fresh_dice(state: dict[str, Any]) -> None:
    state["rng"] = torch.Generator().manual_seed(99).get_state()


def _no_momentum(state: dict[str, Any]) -> None:
    for memory in state["optimizer"]["state"].values():
        memory["momentum_buffer"].zero_()


def _other_statistics(state: dict[str, Any]) -> None:
    state["method"]["segmentor.backbone.bn1.running_mean"] += 1


def _earlier_step(state: dict[str, Any]) -> None:
    state["step"] -= 1


@pytest.mark.parametrize("tamper", [_fresh_dice, _no_momentum, _other_statistics, _earlier_step])
def test_everything_kept_is_needed(tmp_path: Path, straight: Straight, tamper: Any) -> None:
    """The comparison above would notice each part that were missing from the state."""
    spec = stage()
    state = stopped(spec, tmp_path / "parts", 3)
    tamper(state)
    training_state.save_state(tmp_path / "parts" / STATE, state)
    train(spec, tmp_path / "parts")
    assert not same(last(tmp_path / "parts"), last(straight(spec)))


@pytest.mark.parametrize("method", METHODS)
def test_seeds_differ(tmp_path: Path, method: str) -> None:
    spec = stage(method, steps=1)
    train(spec, tmp_path / "a")
    train(spec, tmp_path / "b", seed=4)
    assert not same(last(tmp_path / "a"), last(tmp_path / "b"))


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_change_nothing(tmp_path: Path, workers: int) -> None:
    spec = stage("contextrast", steps=4)
    train(spec, tmp_path / "none")
    stopped(spec, tmp_path / "some", 2, workers=workers)
    train(spec, tmp_path / "some", workers=workers)
    assert same(last(tmp_path / "none"), last(tmp_path / "some"))


def test_other_trainings_before_change_nothing(tmp_path: Path) -> None:
    spec = stage(steps=3)
    train(spec, tmp_path / "first")
    train(stage("mscs", steps=2, optimizer="adamw"), tmp_path / "between", seed=8)
    torch.rand(5)
    train(spec, tmp_path / "again")
    assert same(last(tmp_path / "first"), last(tmp_path / "again"))


def test_finished_stage_is_not_trained_again(tmp_path: Path) -> None:
    first = train(stage(steps=2), tmp_path)
    written = (tmp_path / LAST).stat().st_mtime_ns
    assert train(stage(steps=2), tmp_path) == first
    assert (tmp_path / LAST).stat().st_mtime_ns == written


def test_finished_stage_without_weights_is_trained_again(tmp_path: Path) -> None:
    train(stage(steps=2), tmp_path)
    before = last(tmp_path)
    (tmp_path / LAST).unlink()
    train(stage(steps=2), tmp_path)
    assert same(last(tmp_path), before)


class Presses(Observer):
    """Presses Ctrl-C when a step is reported."""

    def __init__(self, at: int, times: int) -> None:
        self.at, self.times = at, times

    def report(self, progress: Progress) -> None:
        if progress.phase == "train" and progress.done == self.at:
            for _ in range(self.times):
                signal.raise_signal(signal.SIGINT)


def test_ctrl_c_once_saves_and_says_how_to_go_on(tmp_path: Path, straight: Straight) -> None:
    spec = stage(steps=5)
    with Stopper() as stop, pytest.raises(Interrupted) as caught:
        # Saving every step makes every step report.
        train(spec, tmp_path / "parts", stop=stop, observer=Presses(2, 1), save=EVERY_STEP)
    assert caught.value.faults == ("Saved at step 3.",)
    assert "same command" in caught.value.next
    assert caught.value.exit_code == 130
    train(spec, tmp_path / "parts")
    assert same(last(tmp_path / "parts"), last(straight(spec)))


def test_ctrl_c_twice_stops_at_once_and_keeps_the_last_save(tmp_path: Path, straight: Straight) -> None:
    spec = stage(steps=5)
    with Stopper() as stop, pytest.raises(KeyboardInterrupt):
        train(spec, tmp_path / "parts", stop=stop, observer=Presses(3, 2), save=EVERY_STEP)
    state = training_state.load_state(tmp_path / "parts" / STATE)
    assert state is not None
    assert state["step"] == 2
    train(spec, tmp_path / "parts")
    assert same(last(tmp_path / "parts"), last(straight(spec)))


def test_stop_at_the_last_step_finishes(tmp_path: Path) -> None:
    assert train(stage(steps=3), tmp_path, stop=after(3)).steps == 3
    assert (tmp_path / SUMMARY).exists()


def test_state_of_another_training_is_refused(tmp_path: Path) -> None:
    spec = stage(steps=3)
    state = stopped(spec, tmp_path, 1)
    training_state.save_state(tmp_path / STATE, {**state, "training": "other1"})
    with pytest.raises(RunFault, match="state of another training") as caught:
        train(spec, tmp_path)
    assert "other1" in str(caught.value)
    assert f"rm {tmp_path / STATE}" in caught.value.next


@pytest.mark.parametrize("missing", ["method", "optimizer", "curve"])
def test_state_of_another_version_is_refused(tmp_path: Path, missing: str) -> None:
    spec = stage(steps=3)
    state = stopped(spec, tmp_path, 1)
    del state[missing]
    training_state.save_state(tmp_path / STATE, state)
    with pytest.raises(InvalidFault, match="does not fit") as caught:
        train(spec, tmp_path)
    assert f"rm {tmp_path / STATE}" in caught.value.next


def test_state_of_another_network_is_refused(tmp_path: Path) -> None:
    spec = stage(steps=3)
    state = stopped(spec, tmp_path, 1)
    state["method"]["segmentor.decoder.conv.weight"] = torch.zeros(1)
    del state["method"]["segmentor.decoder.conv.bias"]
    training_state.save_state(tmp_path / STATE, state)
    with pytest.raises(InvalidFault) as caught:
        train(spec, tmp_path)
    assert len(caught.value.faults) == 2
    assert f"rm {tmp_path / STATE}" in caught.value.next


@pytest.mark.parametrize("length", [0, 100, 5000])
def test_damaged_state_is_named(tmp_path: Path, length: int) -> None:
    spec = stage(steps=3)
    stopped(spec, tmp_path, 1)
    path = tmp_path / STATE
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(InvalidFault, match="is damaged") as caught:
        train(spec, tmp_path)
    assert str(path) in str(caught.value)
    assert len(caught.value.faults) == 1
    assert f"rm {path}" in caught.value.next


def test_flipped_bit_is_noticed(tmp_path: Path) -> None:
    spec = stage(steps=3)
    stopped(spec, tmp_path, 1)
    path = tmp_path / STATE
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    with pytest.raises(InvalidFault, match="checksum"):
        train(spec, tmp_path)


def test_damaged_summary_is_named(tmp_path: Path) -> None:
    train(stage(steps=1), tmp_path)
    (tmp_path / SUMMARY).write_text('{"steps": 1, "speed": 3}')
    with pytest.raises(InvalidFault, match="does not read") as caught:
        train(stage(steps=1), tmp_path)
    assert f"rm {tmp_path / SUMMARY}" in caught.value.next


def test_leftovers_of_a_kill_are_swept(tmp_path: Path) -> None:
    stale = tmp_path / f".{STATE}.abcdefgh"
    stale.write_bytes(b"half")
    train(stage(steps=1), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {LAST, SUMMARY, "lock"}


FOREVER = """
import sys
from pathlib import Path
from tests.engine.tiny import stage, train
train(stage("contextrast", steps=40), Path(sys.argv[1]), save=0.0)
"""


@pytest.mark.slow
def test_killed_in_the_middle(tmp_path: Path) -> None:
    """Kill -9 at an arbitrary moment, several times; what is left goes on to the same weights."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([".", *sys.path])}
    state, reached = tmp_path / "parts" / STATE, -1
    for _ in range(2):
        command = [sys.executable, "-c", FOREVER, str(tmp_path / "parts")]
        before = state.stat().st_mtime_ns if state.exists() else 0
        process = subprocess.Popen(command, env=environment, text=True)
        wait_for(lambda: state.exists() and state.stat().st_mtime_ns != before, process=process)  # noqa: B023
        process.kill()
        assert process.wait() == -signal.SIGKILL
        kept = training_state.load_state(state)
        assert kept is not None
        assert reached < kept["step"] < 40
        reached = kept["step"]
    train(stage("contextrast", steps=40), tmp_path / "parts")
    train(stage("contextrast", steps=40), tmp_path / "straight")
    assert same(last(tmp_path / "parts"), last(tmp_path / "straight"))
