"""A student beside the frozen network of an earlier stage, stopped anywhere, with an optimiser that forgets or not."""

from pathlib import Path

import pytest

from segbench.core.errors import Interrupted, InvalidFault
from segbench.core.spec import Choice, StageSpec
from segbench.engine.folder import LAST
from segbench.engine.inputs import StageInputs
from tests.engine.tiny import EVERY_STEP, after, last, same, stage, train


def student(*, reset: bool = False, mode: str = "eval", steps: int = 5) -> StageSpec:
    plain = stage(steps=steps, optimizer="adam", lr=1e-3)
    options = {
        "teacher_stage": "teacher",
        "teacher_features": "concat",
        "teacher_projection": "conv1x1",
        "teacher_mode": mode,
    }
    schedule = plain.schedule.model_copy(update={"reset_optimizer": reset})
    method = Choice(name="fusion-contrast", options={**options, "teacher_mode": mode, "dice_weight": 0.1})
    return StageSpec.model_validate({**dict(plain), "schedule": schedule, "method": method, "name": "student"})


@pytest.fixture
def inputs(tmp_path: Path) -> StageInputs:
    train(stage(steps=1).model_copy(update={"name": "teacher"}), tmp_path / "teacher")
    return StageInputs(networks={"teacher": tmp_path / "teacher" / LAST})


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_stopped_anywhere_it_ends_with_the_same_weights(
    tmp_path: Path, inputs: StageInputs, reset: bool, mode: str
) -> None:
    spec = student(reset=reset, mode=mode)
    train(spec, tmp_path / "straight", inputs=inputs)
    for calls in (1, 2):
        with pytest.raises(Interrupted):
            train(spec, tmp_path / "halves", inputs=inputs, stop=after(calls), save=EVERY_STEP)
    train(spec, tmp_path / "halves", inputs=inputs)
    assert same(last(tmp_path / "halves"), last(tmp_path / "straight"))


def test_an_optimiser_that_forgets_ends_elsewhere(tmp_path: Path, inputs: StageInputs) -> None:
    for reset in (False, True):
        train(student(reset=reset), tmp_path / str(reset), inputs=inputs)
    assert not same(last(tmp_path / "False"), last(tmp_path / "True"))


def test_a_student_without_its_teachers_weights(tmp_path: Path) -> None:
    with pytest.raises(InvalidFault, match="its method needs the stage 'teacher'; stages before it: none"):
        train(student(), tmp_path)
