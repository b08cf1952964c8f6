"""The time of a step: its median after the warm-up, without what lies between two steps."""

from pathlib import Path
from typing import Any

import pytest
import torch

import segbench.engine.train as engine
from segbench.engine import clock as module
from segbench.engine.clock import KEPT_STEPS, WARMUP_STEPS, StepClock
from segbench.engine.runtime import Runtime
from segbench.engine.train import TrainingRun
from tests.engine.tiny import stage, train


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that only moves when it is told to."""
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    return now


def test_the_median_leaves_out_the_warm_up_and_what_is_between(hands: list[float]) -> None:
    clock = StepClock(Runtime())
    assert clock.median() is None
    for number, seconds in enumerate([100.0] * WARMUP_STEPS + [1.0, 5.0, 2.0]):
        hands[0] += 1000.0  # waits for its batch
        with clock.step():
            hands[0] += seconds
        assert (clock.median() is None) == (number < WARMUP_STEPS)
    assert clock.fetch() == [1.0, 5.0, 2.0]
    assert clock.median() == 2.0


def test_a_training_that_goes_on_warms_up_again_and_keeps_its_steps(hands: list[float]) -> None:
    clock = StepClock(Runtime(), [3.0, 3.0, 3.0])
    for seconds in [100.0] * WARMUP_STEPS + [7.0]:
        with clock.step():
            hands[0] += seconds
    assert clock.fetch() == [3.0, 3.0, 3.0, 7.0]


def test_only_the_last_steps_are_kept(hands: list[float]) -> None:
    clock = StepClock(Runtime(), [9.0] * KEPT_STEPS)
    for seconds in [0.0] * WARMUP_STEPS + [2.0]:
        with clock.step():
            hands[0] += seconds
    assert clock.fetch() == [9.0] * (KEPT_STEPS - 1) + [2.0]


def test_a_step_that_fails_is_not_counted(hands: list[float]) -> None:
    clock = StepClock(Runtime(), [1.0])
    clock._left_out = 0
    with pytest.raises(ZeroDivisionError), clock.step():
        raise ZeroDivisionError
    assert clock.fetch() == [1.0]


class _Event:
    """A CUDA event whose time is that of the hands when the device gets to it."""

    def __init__(self, hands: list[float]) -> None:
        self.hands, self.at = hands, -1.0

    def record(self) -> None:
        self.at = self.hands[0]

    def synchronize(self) -> None:
        assert self.at >= 0

    def elapsed_time(self, end: "_Event") -> float:
        return 1000 * (end.at - self.at)


def test_events_are_read_in_seconds_and_only_when_asked(hands: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.torch.cuda, "Event", lambda enable_timing: _Event(hands))
    clock = StepClock(Runtime(device="cuda"))
    for seconds in [50.0] * WARMUP_STEPS + [0.25, 0.75]:
        hands[0] += 10.0
        with clock.step():
            hands[0] += seconds
    assert clock.fetch() == [0.25, 0.75]
    assert clock.fetch() == [0.25, 0.75]


def test_a_training_says_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches, validation and saving are no part of it."""
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])

    def takes(seconds: float, owner: Any, name: str) -> None:
        function = getattr(owner, name)

        def slow(*arguments: Any, **options: Any) -> Any:
            now[0] += seconds
            return function(*arguments, **options)

        monkeypatch.setattr(owner, name, slow)

    takes(100.0, TrainingRun, "_save")
    takes(1000.0, engine, "validate")
    takes(10.0, TrainingRun, "_lr")
    takes(0.5, torch.Tensor, "backward")
    summary = train(stage(steps=WARMUP_STEPS + 3, validate_every=4), tmp_path)
    assert summary.seconds_per_iteration == pytest.approx(0.5)
    few = train(stage(steps=WARMUP_STEPS, validate_every=4), tmp_path / "few")
    assert few.seconds_per_iteration is None
