"""Hooks of a method: networks of earlier stages, validations, the end of a stage, several updates, a moving average."""

import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from segbench.checkpoints.weights_file import load_weights
from segbench.core import registry
from segbench.core.errors import Interrupted, InvalidFault
from segbench.core.spec import Choice, Options, StageSpec, StreamSpec, setting
from segbench.data.batch import Batch
from segbench.engine.folder import BEST, LAST
from segbench.engine.inputs import StageInputs
from segbench.losses.cross_entropy import cross_entropy, labelled_weight
from segbench.methods.base import Best, Method, ParamGroup
from segbench.methods.ema import EmaModel, cosine_decay
from segbench.methods.step import StepInfo
from segbench.models.segmentor import Segmentor
from tests.engine.tiny import DATA, EVERY_STEP, after, last, same, stage, stopped, train

NAME = "mean-teacher"
UNLABELLED = StreamSpec(data=DATA.model_copy(update={"splits": ("val",)}), crop=(32, 64), batch_total=2)


class TeacherOptions(Options):
    """Every hook at once."""

    guide: str | None = setting(None, description="stage whose frozen network takes part")
    updates: int = setting(1, description="updates of the classifier a step")
    evaluated: str = "student"

    def needs_stages(self) -> tuple[str, ...]:
        return () if self.guide is None else (self.guide,)


class MeanTeacher(Method):
    """A student that follows its own average and, if there is one, the network of an earlier stage."""

    validations: Tensor

    def __init__(self, options: TeacherOptions, segmentor: Segmentor, *, num_classes: int, seed: int) -> None:
        super().__init__(segmentor, seed=seed)
        self.options = options
        self.teacher = EmaModel(segmentor, buffers="average")
        self.guide: Segmentor | None = None
        self.register_buffer("validations", torch.zeros(0, 2, dtype=torch.float64))
        self.register_buffer("noted", torch.zeros(16, 2, dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def train(self, mode: bool = True) -> "MeanTeacher":
        super().train(mode)
        for frozen in (self.teacher, self.guide):
            if frozen is not None:
                frozen.eval()
        return self

    def receive(self, networks: Mapping[str, Segmentor]) -> None:
        (self.guide,) = networks.values()
        assert not self.guide.training and not any(each.requires_grad for each in self.guide.parameters())

    def param_groups(self) -> list[ParamGroup]:
        (group,) = super().param_groups()
        head = [item for item in group.params if "classifier" in item[0]]
        rest = [item for item in group.params if "classifier" not in item[0]]
        return [ParamGroup("model", rest), ParamGroup("head", head, updates_per_step=self.options.updates)]

    def forward(self, batches: dict[str, Batch], info: StepInfo) -> dict[str, Tensor]:
        labelled, unlabelled = batches["labelled"], batches["unlabelled"]
        logits = self.segmentor(labelled.images).logits
        losses = {"ce": cross_entropy(self.segmentor.resize(logits, (32, 64)), labelled.target)}
        found = self.segmentor(unlabelled.images).logits
        for network in [self.teacher.network, *([] if self.guide is None else [self.guide])]:
            with torch.no_grad():
                wanted = network(unlabelled.images).logits
            losses["follow"] = losses.get("follow", 0) + (found - wanted).square().mean()
        return losses

    def loss_normalizers(self, batches: dict[str, Batch]) -> dict[str, Tensor]:
        images = batches["unlabelled"].images
        return {"ce": labelled_weight(batches["labelled"].target), "follow": images.new_full((), len(images))}

    def after_step(self, info: StepInfo) -> None:
        self.teacher.update(self.segmentor, decay=cosine_decay(info, start=0.5, warmup=1))

    def on_validation(self, info: StepInfo, miou: float | None, best: Best | None) -> None:
        """Note it, and shrink the weights, so that a training in which this call is lost differs."""
        assert miou is not None
        self.noted[self.count] = torch.tensor([info.step, miou], dtype=torch.float64)
        self.count += 1
        with torch.no_grad():
            self.segmentor.decoder.classifier.weight *= 0.9

    def predictor(self) -> Segmentor:
        network = self.teacher.network if self.options.evaluated == "teacher" else self.segmentor
        assert isinstance(network, Segmentor)
        return network


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    options, method = types.ModuleType("options"), types.ModuleType("method")
    options.Options, method.build = TeacherOptions, MeanTeacher  # type: ignore[attr-defined]
    registry.add("method", NAME, {"options": options, "method": method})
    yield
    registry.remove("method", NAME)


def teacher_stage(*, steps: int = 6, every: int | None = 2, **options: Any) -> StageSpec:
    spec = stage(steps=steps, validate_every=every)
    changes = {
        "streams": {"unlabelled": UNLABELLED, **spec.streams},
        "method": Choice(name=NAME, options=options),
    }
    return StageSpec.model_validate({**dict(spec), **changes})


def noted(state: dict[str, Any]) -> list[list[float]]:
    return state["method"]["noted"][: state["method"]["count"]].tolist()


@pytest.mark.parametrize("evaluated", ["student", "teacher"])
def test_stopped_anywhere_it_ends_with_the_same_weights(tmp_path: Path, evaluated: str) -> None:
    """A stop right after a validation, before the method was told of it, changes nothing."""
    spec = teacher_stage(evaluated=evaluated, updates=2, guide="first")
    train(stage(steps=1), tmp_path / "first")
    inputs = StageInputs(networks={"first": tmp_path / "first" / LAST})
    summary = train(spec, tmp_path / "straight", inputs=inputs)
    calls = (1, 1 + 5 + 1, 1)  # after a step; after the 5 images of a validation and a step; after a step
    for stop in calls:
        with pytest.raises(Interrupted):
            train(spec, tmp_path / "halves", stop=after(stop), save=EVERY_STEP, inputs=inputs)
    again = train(spec, tmp_path / "halves", inputs=inputs)
    assert same(last(tmp_path / "halves"), last(tmp_path / "straight"))
    assert again.curve == summary.curve
    best = load_weights(tmp_path / "halves" / BEST)[1]
    assert same(best, load_weights(tmp_path / "straight" / BEST)[1])


def test_a_method_is_told_of_each_validation_but_the_last(tmp_path: Path) -> None:
    state = stopped(teacher_stage(), tmp_path, 5, before=2 * 5)
    summary = train(teacher_stage(), tmp_path)
    scores = [(point["step"], point["miou"]) for point in summary.curve]
    assert [step for step, _ in scores] == [2, 4, 6]
    assert [tuple(each) for each in noted(state)] == scores[:2]


def test_a_run_killed_after_a_validation_tells_the_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its state is that of before the call, and its best weights those that were validated."""
    spec = teacher_stage()
    train(spec, tmp_path / "straight")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MeanTeacher, "on_validation", killed)
        with pytest.raises(KeyboardInterrupt):
            train(spec, tmp_path / "halves")
    train(spec, tmp_path / "halves")
    for name in (LAST, BEST):
        found, expected = (load_weights(tmp_path / folder / name)[1] for folder in ("halves", "straight"))
        assert same(found, expected), name


def test_the_evaluated_weights_are_those_of_the_predictor(tmp_path: Path) -> None:
    for evaluated in ("student", "teacher"):
        train(teacher_stage(evaluated=evaluated, every=None), tmp_path / evaluated)
    student, teacher = (last(tmp_path / evaluated) for evaluated in ("student", "teacher"))
    assert student.keys() == teacher.keys() and not same(student, teacher)


def test_earlier_networks_take_part_and_must_be_there(tmp_path: Path) -> None:
    train(stage(steps=1), tmp_path / "first")
    inputs = StageInputs(networks={"first": tmp_path / "first" / LAST, "other": tmp_path / "nowhere"})
    spec = teacher_stage(guide="first", steps=2, every=None)
    train(spec, tmp_path / "guided", inputs=inputs)
    train(teacher_stage(steps=2, every=None), tmp_path / "alone", inputs=inputs)
    assert not same(last(tmp_path / "guided"), last(tmp_path / "alone"))
    with pytest.raises(InvalidFault, match="needs the stage 'first'; stages before it: none"):
        train(spec, tmp_path / "lost")


def test_the_primary_stream_validates_whatever_comes_first() -> None:
    spec = teacher_stage()
    assert next(iter(spec.streams)) == "unlabelled"
    assert (spec.primary_name, spec.primary_stream) == ("labelled", spec.streams["labelled"])
    other = StageSpec.model_validate({**dict(spec), "primary": "unlabelled"})
    assert other.primary_stream is other.streams["unlabelled"]
    assert "primary" not in spec.canonical() and other.id() != spec.id()
    only = StageSpec.model_validate({**dict(spec), "streams": {"source": UNLABELLED}})
    assert only.primary_name == "source"
    with pytest.raises(ValueError, match="primary is 'more'; the streams are unlabelled, labelled"):
        StageSpec.model_validate({**dict(spec), "primary": "more"})


def ema_by_hand(values: list[float], decays: list[float], first: float) -> list[float]:
    found = []
    for value, decay in zip(values, decays, strict=True):
        first = decay * first + (1 - decay) * value
        found.append(first)
    return found


def test_moving_average_by_hand() -> None:
    network = nn.BatchNorm1d(1).double()
    averages = {rule: EmaModel(network, buffers=rule) for rule in ("average", "copy", "keep")}
    assert not any(each.requires_grad for each in averages["copy"].parameters())
    values, decays = [2.0, -1.0, 4.0], [0.0, 0.9, 0.5]
    for value, decay in zip(values, decays, strict=True):
        nn.init.constant_(network.weight, value)
        network.running_mean.fill_(10 * value)
        network.num_batches_tracked += 1
        for each in averages.values():
            each.update(network, decay=decay)
    expected = ema_by_hand(values, decays, 1.0)[-1]
    means = {"average": ema_by_hand([10 * value for value in values], decays, 0.0)[-1], "copy": 40.0, "keep": 0.0}
    for rule, average in averages.items():
        copied = average.network
        assert copied.weight.item() == pytest.approx(expected, rel=1e-12)
        assert copied.running_mean.item() == pytest.approx(means[rule], rel=1e-12)
        assert copied.num_batches_tracked.item() == (0 if rule == "keep" else 3)


def test_decay_along_a_cosine() -> None:
    """Alonso et al.: a copy at first, then 0.995 rising to 1; at step 4 of 100 000 the limit 1 - 1/41 still counts."""
    found = [cosine_decay(StepInfo(step, 10**5), start=0.995, warmup=10) for step in (0, 4, 50_000, 10**5)]
    assert found == pytest.approx([0, 1 - 1 / 41, 1 - 0.005 / 2, 1], abs=1e-5)
