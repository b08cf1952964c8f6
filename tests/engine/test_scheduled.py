"""Parts of a network that follow the training's progress are told it before each step, however the training goes."""

from pathlib import Path
from typing import Any

import pytest

import segbench.engine.train as engine
from segbench.core.spec import Choice, ModelSpec, StageSpec
from segbench.engine.micro_batch import backward
from segbench.engine.runtime import Runtime
from segbench.methods.base import Method
from segbench.methods.step import StepInfo
from segbench.models.scheduled import Scheduled
from tests.engine.test_micro_batch import batch, method_of
from tests.engine.tiny import METHODS, last, same, stage, stopped, train

DROPPING = ModelSpec(
    backbone=Choice(name="auto-deeplab", options={"filters": 2, "stem_channels": 4, "path": [0, 1], "drop_path": 0.9}),
    decoder=Choice(name="deeplabv3plus", options={"channels": 4, "low_channels": 4, "image_pooling": False}),
)
STEPS = 4


def dropping(**schedule: Any) -> StageSpec:
    return stage(steps=STEPS, **schedule).model_copy(update={"model": DROPPING})


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What every training pass through a network that is built from now on finds as its progress."""
    build, found = engine.build_method, []

    def watched(spec: StageSpec, **more: Any) -> Method:
        method = build(spec, **more)
        (*_, part) = (module for module in method.modules() if isinstance(module, Scheduled))
        part.register_forward_pre_hook(lambda module, _: found.append(float(part.progress)))
        return method

    monkeypatch.setattr(engine, "build_method", watched)
    return found


@pytest.mark.parametrize("micro_batches", [1, 2])
def test_each_step_knows_its_share(tmp_path: Path, seen: list[float], micro_batches: int) -> None:
    train(dropping(micro_batch=2 // micro_batches if micro_batches > 1 else None), tmp_path)
    of_a_step = 10 * micro_batches  # operations of the last cell, in every micro-batch
    assert seen == [step / STEPS for step in range(STEPS) for _ in range(of_a_step)]


def test_a_resumed_training_goes_on_with_its_share(tmp_path: Path, seen: list[float]) -> None:
    stopped(dropping(), tmp_path / "parts", 3)
    seen.clear()
    train(dropping(), tmp_path / "parts")
    assert set(seen) == {3 / STEPS}
    train(dropping(), tmp_path / "straight")
    assert same(last(tmp_path / "parts"), last(tmp_path / "straight"))


@pytest.mark.parametrize("name", METHODS)
def test_methods_tell_their_networks(name: str) -> None:
    method = method_of(name, **({} if name == "supervised" else {"embedding_dim": 8}))
    method.segmentor.backbone.add_module("scheduled", Scheduled())
    backward(method, batch(), info=StepInfo(6, 8), runtime=Runtime())
    (part,) = (module for module in method.modules() if isinstance(module, Scheduled))
    assert part.progress.item() == 0.75
