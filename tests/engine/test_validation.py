"""Validation while training, the best weights, and stages that start from others."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import segbench.engine.train as engine
from segbench.checkpoints import training_state, weights_file
from segbench.checkpoints.weights_file import build_from_weights, load_weights
from segbench.core.errors import Interrupted, InvalidFault, MissingFault, RunFault
from segbench.core.progress import Observer, Progress
from segbench.core.spec import DataSpec, EvaluationSpec, StageSpec, SubsetSpec
from segbench.data.open import open_dataset
from segbench.engine.evaluate import evaluate
from segbench.engine.folder import BEST, LAST, STATE, SUMMARY, Summary, read_summary
from segbench.engine.inputs import StageInputs
from segbench.engine.runtime import Runtime
from segbench.engine.stage_data import open_stage_data
from tests.engine.conftest import Straight
from tests.engine.tiny import EVERY_STEP, after, last, model, same, stage, stopped, train

DATA = DataSpec(name="camvid", source="generated", images=3, size=(32, 64))


def validated(steps: int = 6, every: int | None = 2, **more: Any) -> StageSpec:
    return stage(steps=steps, validate_every=every, data=DATA, **more)


def best(folder: Path) -> dict[str, Tensor]:
    return load_weights(folder / BEST)[1]


def scripted(patch: pytest.MonkeyPatch, scores: list[float]) -> None:
    """Let validations have these scores."""
    left: Iterator[float] = iter(scores)

    patch.setattr(engine, "validate", lambda *_, **__: next(left))


def summary_of(folder: Path) -> Summary:
    summary = read_summary(folder)
    assert summary is not None
    return summary


def points(summary: Summary) -> list[tuple[float, float | None]]:
    return [(point["step"], point.get("miou")) for point in summary.curve]


def network_at(spec: StageSpec, folder: Path, step: int) -> dict[str, Tensor]:
    """The network after so many steps of a training without validation."""
    plain = spec.model_copy(update={"schedule": spec.schedule.model_copy(update={"validate_every": None})})
    state = stopped(plain, folder, step)
    prefix = "segmentor."
    return {key.removeprefix(prefix): value for key, value in state["method"].items() if key.startswith(prefix)}


@pytest.mark.parametrize(
    ("scores", "step"),
    [([10.0, 50.0, 40.0], 4), ([50.0, 10.0, 50.0], 2), ([10.0, 20.0, 30.0], 6), ([0.0, 0.0, 0.0], 2)],
)
def test_best_weights_are_those_of_the_best_step(tmp_path: Path, scores: list[float], step: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        scripted(patch, scores)
        summary = train(validated(), tmp_path / "run")
    assert points(summary) == [(2, scores[0]), (4, scores[1]), (6, scores[2])]
    assert summary.best == {"step": step, "miou": max(scores)}
    assert summary.last == {"step": 6, "miou": scores[2]}
    assert load_weights(tmp_path / "run" / BEST)[0].step == step
    assert load_weights(tmp_path / "run" / LAST)[0].step == 6
    if step < 6:
        assert same(best(tmp_path / "run"), network_at(validated(), tmp_path / "plain", step))
    else:
        assert same(best(tmp_path / "run"), last(tmp_path / "run"))


def test_scores_are_those_of_the_weights(tmp_path: Path) -> None:
    summary = train(validated(steps=5), tmp_path)
    assert [step for step, _ in points(summary)] == [2, 4, 5]
    images = open_dataset(DATA.model_copy(update={"splits": ("val",)}))
    for name, recorded in ((BEST, summary.best), (LAST, summary.last)):
        network, header = build_from_weights(tmp_path / name)
        result = evaluate(network, images, EvaluationSpec(data=DATA), input=header.model.input, runtime=Runtime())
        assert recorded is not None
        assert recorded["step"] == header.step
        assert recorded["miou"] == result.figures(absent="exclude")["miou"]
    assert summary.best is not None
    assert summary.best["miou"] == max(score for _, score in points(summary) if score is not None)


def test_header_says_where_the_weights_come_from(tmp_path: Path) -> None:
    spec = validated(steps=1, every=None)
    train(spec, tmp_path)
    header = load_weights(tmp_path / LAST)[0]
    assert header.model == model()
    assert (header.dataset, header.training, header.step) == ("camvid", "abc123", 1)
    assert (header.data_source, header.data_images, header.data_scale) == ("generated", 3, 1.0)
    assert header.classes[0] == "sky"
    assert not (tmp_path / BEST).exists()


def test_validation_does_not_touch_the_training(straight: Straight) -> None:
    assert same(last(straight(validated())), last(straight(validated(every=None))))


def test_validation_sees_the_whole_split() -> None:
    data = DATA.model_copy(update={"subset": SubsetSpec(count=1)})
    opened = open_stage_data(stage(steps=1, validate_every=1, data=data), seed=3)
    whole = open_dataset(DATA.model_copy(update={"splits": ("val",)}))
    assert len(opened.streams["labelled"]) == 1
    assert opened.validation is not None
    keys = [opened.validation.key(index) for index in range(len(opened.validation))]
    assert keys == [whole.key(index) for index in range(len(whole))]


def test_split_without_labels_has_no_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a number is no score to compare with, nor one to write down."""
    scripted(monkeypatch, [float("nan"), 20.0, float("nan")])
    summary = train(validated(), tmp_path)
    assert points(summary) == [(2, None), (4, 20.0), (6, None)]
    assert summary.best == {"step": 4, "miou": 20.0}
    assert summary.last is None


def test_losses_of_a_point_are_means_over_its_steps(tmp_path: Path) -> None:
    """However often was reported or saved in between, and wherever the run was stopped."""
    seen: dict[int, float] = {}

    class Watches(Observer):
        def report(self, progress: Progress) -> None:
            if progress.phase == "train":
                seen[progress.done] = progress.losses["ce"]

    every = train(validated(), tmp_path / "every", save=EVERY_STEP, observer=Watches())
    assert sorted(seen) == [1, 2, 3, 4, 5, 6]  # one step a report
    for number, point in enumerate(every.curve):
        expected = (seen[2 * number + 1] + seen[2 * number + 2]) / 2
        assert point["loss_ce"] == pytest.approx(expected, rel=1e-6)
    assert every.losses == {"ce": every.curve[-1]["loss_ce"]}
    with pytest.raises(Interrupted, match="step 3"):
        train(validated(), tmp_path / "parts", stop=_when(3))
    parts = train(validated(), tmp_path / "parts")
    assert [point["loss_ce"] for point in parts.curve] == pytest.approx([p["loss_ce"] for p in every.curve], rel=1e-6)
    assert [point["lr"] for point in parts.curve] == [point["lr"] for point in every.curve]
    assert parts.curve[-1]["lr"] == pytest.approx(0.01 * (1 / 6) ** 0.9)


@pytest.mark.parametrize("step", [1, 2, 3, 4, 5])
def test_stopped_anywhere_the_validations_are_the_same(tmp_path: Path, straight: Straight, step: int) -> None:
    whole, folder = summary_of(straight(validated())), straight(validated())
    with pytest.raises(Interrupted, match=f"Saved at step {step}"):
        train(validated(), tmp_path / "parts", stop=_when(step))
    parts = train(validated(), tmp_path / "parts")
    assert points(parts) == points(whole)
    assert (parts.best, parts.last) == (whole.best, whole.last)
    assert same(best(tmp_path / "parts"), best(folder))
    assert same(last(tmp_path / "parts"), last(folder))


def _when(step: int) -> Callable[[], bool]:
    """Stops after a step, not counting the questions of the validations before it."""
    images = 3  # asked before each
    return after(step + images * ((step - 1) // 2))


@pytest.mark.parametrize(("questions", "step"), [(2 + 1, 2), (2 + 3, 2), (4 + 3 + 2, 4), (6 - 1 + 6 + 1, 6)])
def test_stopped_in_a_validation(tmp_path: Path, straight: Straight, questions: int, step: int) -> None:
    whole, folder = summary_of(straight(validated())), straight(validated())
    with pytest.raises(Interrupted, match=f"Saved at step {step}, before its validation") as caught:
        train(validated(), tmp_path / "parts", stop=after(questions + (step == 6)))
    assert caught.value.next
    state = training_state.load_state(tmp_path / "parts" / STATE)
    assert state is not None
    assert state["step"] == step
    assert not (tmp_path / "parts" / SUMMARY).exists()
    parts = train(validated(), tmp_path / "parts")
    assert points(parts) == points(whole)
    assert [p["loss_ce"] for p in parts.curve] == pytest.approx([p["loss_ce"] for p in whole.curve], rel=1e-6)
    assert same(best(tmp_path / "parts"), best(folder))
    assert same(last(tmp_path / "parts"), last(folder))


def test_killed_between_state_and_best_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.MonkeyPatch.context() as patch:
        scripted(patch, [10.0, 50.0])
        save = weights_file.save_weights

        def dies(path: Path, *more: Any) -> None:
            if more[1].step == 4:
                raise KeyboardInterrupt
            save(path, *more)

        patch.setattr(weights_file, "save_weights", dies)
        with pytest.raises(KeyboardInterrupt):
            train(validated(), tmp_path)
    assert load_weights(tmp_path / BEST)[0].step == 2
    scripted(monkeypatch, [40.0])
    summary = train(validated(), tmp_path)
    assert summary.best == {"step": 4, "miou": 50.0}
    assert load_weights(tmp_path / BEST)[0].step == 4
    assert same(best(tmp_path), network_at(validated(), tmp_path / "plain", 4))


def test_corrupt_validation_image_costs_no_training(tmp_path: Path, straight: Straight) -> None:
    with pytest.MonkeyPatch.context() as patch:

        def broken(*_: Any, **__: Any) -> None:
            raise MissingFault("val/3: cannot be decoded.", next="segbench data verify camvid")

        patch.setattr(engine, "validate", broken)
        with pytest.raises(MissingFault):
            train(validated(), tmp_path / "parts")
    state = training_state.load_state(tmp_path / "parts" / STATE)
    assert state is not None
    assert state["step"] == 2
    assert points(train(validated(), tmp_path / "parts")) == points(summary_of(straight(validated())))


def test_stage_starts_from_the_weights_of_another(tmp_path: Path) -> None:
    train(stage(steps=3), tmp_path / "first")
    before = last(tmp_path / "first")
    # A step so small that it changes no weight.
    second = stage("contextrast", steps=1, lr=1e-30)
    train(second, tmp_path / "second", inputs=StageInputs(weights=tmp_path / "first" / LAST), seed=5)
    train(second, tmp_path / "fresh", seed=5)
    started, fresh = last(tmp_path / "second"), last(tmp_path / "fresh")
    weights = [name for name in before if name.endswith(("weight", "bias"))]
    assert all(torch.allclose(started[name], before[name], rtol=0, atol=1e-20) for name in weights)
    assert not all(torch.allclose(fresh[name], before[name], rtol=0, atol=1e-20) for name in weights)
    # The statistics go on from the first stage's: new = 0.9 * old + 0.1 * batch.
    assert started["backbone.bn1.num_batches_tracked"] == 4
    assert fresh["backbone.bn1.num_batches_tracked"] == 1


def test_resumed_second_stage_does_not_start_again(tmp_path: Path) -> None:
    train(stage(steps=2), tmp_path / "first")
    start, spec = tmp_path / "first" / LAST, stage("contextrast", steps=4)
    train(spec, tmp_path / "straight", inputs=StageInputs(weights=start))
    stopped(spec, tmp_path / "parts", 2, inputs=StageInputs(weights=start))
    start_gone = tmp_path / "gone"
    train(spec, tmp_path / "parts", inputs=StageInputs(weights=start_gone))
    assert same(last(tmp_path / "parts"), last(tmp_path / "straight"))


def test_weights_that_do_not_fit_the_second_stage(tmp_path: Path) -> None:
    train(stage(steps=1), tmp_path / "first")
    other = stage(steps=1).model_copy(update={"model": model(width=8)})
    with pytest.raises(InvalidFault, match="another shape"):
        train(other, tmp_path / "second", inputs=StageInputs(weights=tmp_path / "first" / LAST))
    with pytest.raises(MissingFault, match="no file"):
        train(stage(steps=1), tmp_path / "third", inputs=StageInputs(weights=tmp_path / "nowhere"))
    with pytest.raises(InvalidFault, match="resumable state"):
        stopped(stage(steps=2), tmp_path / "half", 1)
        train(stage(steps=1), tmp_path / "fourth", inputs=StageInputs(weights=tmp_path / "half" / STATE))


def test_disk_full_is_no_reason_to_forget_a_validation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.MonkeyPatch.context() as patch:
        scripted(patch, [30.0])

        def full(*_: Any) -> None:
            raise RunFault("full", next="again")

        patch.setattr(weights_file, "save_weights", full)
        with pytest.raises(RunFault):
            train(validated(), tmp_path)
    scripted(monkeypatch, [20.0, 10.0])
    summary = train(validated(), tmp_path)
    assert points(summary) == [(2, 30.0), (4, 20.0), (6, 10.0)]
    assert load_weights(tmp_path / BEST)[0].step == 2
