"""The smallest training that has everything: batch norm, dropout, jitter, flips, random scales, projection heads."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from segbench.checkpoints import training_state, weights_file
from segbench.core.errors import Interrupted
from segbench.core.progress import SILENT, Observer, Progress
from segbench.core.spec import (
    AugmentationSpec,
    Choice,
    DataSpec,
    JitterSpec,
    ModelSpec,
    OptimizerSpec,
    PolicySpec,
    ScheduleSpec,
    StageSpec,
    StreamSpec,
)
from segbench.engine.folder import LAST, STATE, Summary
from segbench.engine.runtime import Runtime
from segbench.engine.stage import run_stage

METHODS = ("supervised", "contextrast", "mscs")
EVERY_STEP = 0.0  # seconds between saves
NEVER = 1e9
BACKBONE = {
    "width": 4,
    "modules": [1, 1, 1],
    "blocks_per_branch": 1,
    "stem_channels": 8,
    "stage1_blocks": 1,
    "stage1_width": 8,
}
DATA = DataSpec(name="camvid", source="generated", images=5, size=(48, 96))
CLASSES = 11


def model(**backbone: Any) -> ModelSpec:
    return ModelSpec(
        backbone=Choice(name="hrnetv2", options={**BACKBONE, **backbone}),
        decoder=Choice(name="concat", options={"dropout": 0.2}),
    )


def stage(
    method: str = "supervised",
    *,
    steps: int = 6,
    optimizer: str = "sgd",
    lr: float = 0.01,
    data: DataSpec = DATA,
    **schedule: Any,
) -> StageSpec:
    return StageSpec(
        streams={
            "labelled": StreamSpec(
                data=data,
                crop=(32, 64),
                batch_total=2,
                augmentation=AugmentationSpec(
                    scale=(0.8, 1.6),
                    flip=0.5,
                    jitter=JitterSpec(brightness=(0.7, 1.3), hue=(-0.1, 0.1)),
                ),
            )
        },
        model=model(),
        method=Choice(name=method, options={} if method == "supervised" else {"embedding_dim": 8}),
        schedule=ScheduleSpec(
            steps=steps,
            optimizer=OptimizerSpec(name=optimizer, lr=lr, momentum=0.9, weight_decay=1e-3, no_decay=("norm",)),
            policy=PolicySpec(warmup_steps=2),
            **schedule,
        ),
    )


class Stopping(Observer):
    """Observer that passes everything on, and asks a function whether to stop."""

    def __init__(self, observer: Observer, stop: Callable[[], bool]) -> None:
        self._observer, self._stop = observer, stop

    def note(self, text: str) -> None:
        self._observer.note(text)

    def report(self, progress: Progress) -> None:
        self._observer.report(progress)

    def stop_requested(self) -> bool:
        return self._stop()


def train(
    spec: StageSpec,
    folder: Path,
    *,
    workers: int = 0,
    save: float = NEVER,
    seed: int = 3,
    stop: Callable[[], bool] = lambda: False,
    observer: Observer = SILENT,
    **more: Any,
) -> Summary:
    runtime = more.pop("runtime", None) or Runtime(workers=workers, checkpoint_seconds=save)
    watcher = Stopping(observer, stop)
    return run_stage(spec, folder, training="abc123", seed=seed, runtime=runtime, observer=watcher, **more)


def after(calls: int) -> Callable[[], bool]:
    """A ``stop`` that returns True when it is called for the given time."""
    left = [calls]

    def stop() -> bool:
        left[0] -= 1
        return left[0] <= 0

    return stop


def stopped(spec: StageSpec, folder: Path, steps: int, *, before: int = 0, **more: Any) -> dict[str, Any]:
    """Train up to a step (from wherever the folder stands) and return the state that was saved.

    ``before`` is how often a training is asked before its first step: once an image, where labels are read first.
    """
    state = training_state.load_state(folder / STATE)
    begun = 0 if state is None else state["step"]
    try:
        train(spec, folder, stop=after(before + steps - begun), **more)
    except Interrupted:
        state = training_state.load_state(folder / STATE)
        assert state is not None
        assert state["step"] == steps
        return state
    raise AssertionError("the training was not stopped")


def last(folder: Path) -> dict[str, Tensor]:
    """Tensors of the weights in the end."""
    return weights_file.load_weights(folder / LAST)[1]


def same(one: Any, other: Any) -> bool:
    """Whether nested states are equal, tensors bit by bit."""
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and one.dtype == other.dtype and bool((one == other).all())
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)
