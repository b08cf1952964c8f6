"""What rows need: totals by hand, activations against what a real step holds, and the fallbacks that make them fit."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from segbench.capacity import count_cache, fits, memory
from segbench.capacity.fits import Fallback, Requirement, grouped, requirements, size_class
from segbench.capacity.memory import CONTEXT_BYTES, MemoryEstimate, count_stage, evaluation_memory, training_memory
from segbench.core.errors import InvalidFault
from segbench.core.spec import (
    Choice,
    DataSpec,
    EvaluationSpec,
    ModelSpec,
    OptimizerSpec,
    ScheduleSpec,
    StageSpec,
    StreamSpec,
    TrainingSpec,
)
from segbench.data.batch import Batch
from segbench.methods.build import build_method, teachers_of
from segbench.models.segmentor import build_segmentor
from segbench.recipe.catalog import Catalog, add_file, default_catalog, load_catalog, recipes_root
from segbench.recipe.resolve import Request, resolve
from tests.metrics.allocated import held_bytes
from tests.steps import at

HRNET = {"width": 8, "modules": [1, 1, 1], "blocks_per_branch": 1, "stage1_blocks": 1, "stem_channels": 16}
SGD = OptimizerSpec(name="sgd", lr=0.1, momentum=0.9)
GB = 10**9


def stage(
    batch: int = 4,
    *,
    method: Choice | None = None,
    optimizer: OptimizerSpec = SGD,
    backbone: Choice | None = None,
    decoder: str = "concat",
    crop: tuple[int, int] = (64, 96),
    **schedule: Any,
) -> StageSpec:
    return StageSpec(
        streams={"labelled": StreamSpec(data=DataSpec(name="camvid"), crop=crop, batch_total=batch)},
        model=ModelSpec(backbone=backbone or Choice(name="hrnetv2", options=HRNET), decoder=Choice(name=decoder)),
        method=method or Choice(name="supervised"),
        schedule=ScheduleSpec(steps=10, optimizer=optimizer, **schedule),
    )


def memory_of(one: StageSpec, **words: Any) -> MemoryEstimate:
    return training_memory(TrainingSpec(stages=(one,)), **words)


def real(one: StageSpec) -> Any:
    torch.manual_seed(0)
    return build_method(one, num_classes=11).train()


def test_totals_by_hand() -> None:
    found = MemoryEstimate(weights=100, gradients=90, optimizer=180, activations=1000, working=30)
    assert found.reserve == CONTEXT_BYTES + 140
    assert found.total == 1400 + 140 + CONTEXT_BYTES


@pytest.mark.parametrize(
    ("optimizer", "momenta"),
    [
        (SGD, 1),
        (OptimizerSpec(name="sgd", lr=0.1), 0),
        (OptimizerSpec(name="adamw", lr=0.1), 2),
        (OptimizerSpec(name="adam", lr=0.1), 2),
    ],
)
def test_weights_gradients_and_momenta(optimizer: OptimizerSpec, momenta: int) -> None:
    """Against the optimiser's own state after a step."""
    one = stage(2, optimizer=optimizer)
    found = memory_of(one, precision="float32")
    method = real(one)
    parameters = sum(parameter.numel() for parameter in method.parameters())
    buffers = sum(buffer.numel() * buffer.element_size() for buffer in method.buffers())
    assert found.weights == 4 * parameters + buffers
    assert found.gradients == 4 * parameters
    assert found.optimizer == momenta * 4 * parameters


def test_what_is_frozen_has_neither_gradient_nor_momentum() -> None:
    options = {"width": 0.125, "blocks": [1, 1, 1, 1]}
    free = memory_of(stage(2, backbone=Choice(name="resnet", options=options)))
    frozen = memory_of(stage(2, backbone=Choice(name="resnet", options={**options, "frozen_norm": True})))
    assert frozen.weights == free.weights
    assert frozen.gradients < free.gradients
    assert free.gradients - frozen.gradients == free.optimizer - frozen.optimizer


QUEUES = {"keys": "memory", "regions_per_class": 50, "pixels_per_class": 50, "max_views": 2, "min_pixels": 2}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("supervised", {}),
        ("contextrast", {"embedding_dim": 16}),
        ("pixel-contrast", {"embedding_dim": 16}),
        ("pixel-contrast", {"embedding_dim": 16, "form": "released", **QUEUES}),
        ("pixel-contrast", {"embedding_dim": 16, "form": "paper", **QUEUES}),
    ],
)
def test_activations_are_what_a_real_forward_pass_holds(name: str, options: dict[str, Any]) -> None:
    """By PyTorch's profiler, with the losses of the method, on the CPU."""
    one = stage(2, method=Choice(name=name, options=options))
    method = real(one)
    target = torch.randint(0, 11, (2, 8, 12)).repeat_interleave(8, 1).repeat_interleave(8, 2)
    batches = {"labelled": Batch(torch.randn(2, 3, 64, 96), target)}
    held = held_bytes(lambda: method(batches, at(10**9)))
    there = sum(tensor.untyped_storage().nbytes() for tensor in (batches["labelled"].images, target))
    counted = count_stage(one, precision="float32").everything
    assert held <= counted <= 1.02 * (held + there), "what was there before may be kept too"


def test_low_precision_needs_less() -> None:
    one = stage(8)
    assert memory_of(one, precision="bfloat16").activations < 0.8 * memory_of(one, precision="float32").activations


def test_a_part_of_the_images() -> None:
    """What follows from the count of the batch by proportion, against a count of the part itself."""
    copies = count_stage(stage(8), precision="bfloat16").copies
    assert copies == pytest.approx(memory_of(stage(8)).weights / 2, rel=0.01)
    for images in (4, 2):
        exact = memory_of(stage(images)).activations
        for found in (memory_of(stage(8), micro_batch=images), memory_of(stage(8), devices=8 // images)):
            assert exact <= found.activations < 1.25 * exact
            assert found.weights == memory_of(stage(8)).weights
            assert (found.gradients, found.optimizer) == (memory_of(stage(8)).gradients, memory_of(stage(8)).optimizer)
    assert memory_of(stage(8), micro_batch=2).activations == memory_of(stage(8), micro_batch=4, devices=2).activations
    assert memory_of(stage(8), micro_batch=99) == memory_of(stage(8))


def test_a_stage_that_is_cut_counts_its_parts() -> None:
    assert memory_of(stage(8, micro_batch=2)).activations == memory_of(stage(2)).activations


def test_checkpointing_keeps_less_and_the_rest_stays() -> None:
    one = stage(8, crop=(128, 128))
    plain, checkpointed = memory_of(one), memory_of(one, checkpoint=True)
    assert checkpointed.activations < 0.6 * plain.activations
    assert (checkpointed.weights, checkpointed.working) == (plain.weights, plain.working)


def test_the_stage_that_needs_most_decides() -> None:
    small, large = stage(2), stage(8)
    large = large.model_copy(update={"name": "second"})
    for stages in ((small, large), (large.model_copy(update={"name": "first"}), small)):
        assert training_memory(TrainingSpec(stages=stages)) == memory_of(stage(8))


def evaluation(**words: Any) -> EvaluationSpec:
    return EvaluationSpec(data=DataSpec(name="camvid"), **words)


def test_evaluation_by_hand() -> None:
    """CamVid's images are 360x480 with 11 classes."""
    plain = evaluation_memory(stage(), evaluation(), precision="float32")
    assert plain.working == 2 * 11 * 360 * 480 * 4
    assert (plain.gradients, plain.optimizer) == (0, 0)
    twice = evaluation_memory(stage(), evaluation(scales=(1.0, 2.0), flip=True), precision="float32")
    assert twice.activations == pytest.approx(4 * plain.activations, abs=4)
    assert twice.working == 2 * plain.working
    half = evaluation_memory(stage(), EvaluationSpec(data=DataSpec(name="camvid", scale=0.5)), precision="float32")
    assert half.activations == pytest.approx(plain.activations / 4, abs=4)
    slide = evaluation_memory(stage(), evaluation(mode="slide", window=(90, 120)), precision="float32")
    assert slide.activations == pytest.approx(plain.activations / 16, abs=4)
    assert slide.working == plain.working + (11 + 1) * 360 * 480 * 4


def test_images_of_other_sizes() -> None:
    def shown(one: EvaluationSpec) -> float:
        return evaluation_memory(stage(), one, precision="float32").activations

    one = shown(EvaluationSpec(data=DataSpec(name="camvid", size=(100, 200))))
    assert shown(evaluation(short_side=180)) == pytest.approx(one * 180 * 240 / 20_000, rel=1e-6)
    assert shown(evaluation(short_side=180, max_side=200)) == pytest.approx(one * 150 * 200 / 20_000, rel=1e-6)
    drawn = EvaluationSpec(data=DataSpec(name="camvid", source="generated"))
    assert shown(drawn) == pytest.approx(one * 64 * 96 / 20_000, rel=1e-6)
    unknown = EvaluationSpec(data=DataSpec(name="voc2012"))
    assert shown(unknown) == pytest.approx(one * 128 * 192 / 20_000, rel=1e-6), "twice the crop's sides"


def test_a_normalisation_of_one_value_is_refused() -> None:
    one = stage(1, backbone=Choice(name="resnet", options={"width": 0.125}), decoder="deeplabv3")
    with pytest.raises(InvalidFault, match="cannot take the statistics of one image") as caught:
        memory_of(one)
    assert "--micro-batch" in caught.value.next


def test_losses_that_look_at_values_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    from segbench.methods.supervised.method import Supervised

    network = count_stage(stage(3), precision="float32").everything
    monkeypatch.setattr(count_cache, "_loaded", {})
    monkeypatch.setattr(count_cache, "_read", lambda _: None)
    monkeypatch.setattr(Supervised, "forward", lambda self, batches, info: batches["labelled"].target.nonzero())
    alone = count_stage(stage(3), precision="float32").everything
    assert 0.3 * network < alone < network


def test_counts_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In memory, on the disk, by shapes alone; half a file is no file; another code counts anew."""
    monkeypatch.setenv("SEGBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(count_cache, "_loaded", {})
    counts = []
    real_count = memory._count_stage
    monkeypatch.setattr(memory, "_count_stage", lambda *words: counts.append(1) or real_count(*words))
    contrast = Choice(name="contextrast", options={"embedding_dim": 16, "alpha": 0.3})
    first = memory_of(stage(method=contrast))
    for alpha in (0.3, 0.7):
        other = Choice(name="contextrast", options={"embedding_dim": 16, "alpha": alpha})
        assert memory_of(stage(method=other, optimizer=OptimizerSpec(name="sgd", lr=0.5, momentum=0.9))) == first
    assert len(counts) == 1
    monkeypatch.setattr(count_cache, "_loaded", {})
    assert memory_of(stage(method=contrast)) == first and len(counts) == 1
    (path,) = (tmp_path / "cache" / "counts").iterdir()
    path.write_text(path.read_text()[:20])
    monkeypatch.setattr(count_cache, "_loaded", {})
    assert memory_of(stage(method=contrast)) == first and len(counts) == 2
    assert json.loads(path.read_text())["everything"] > 0
    monkeypatch.setattr(count_cache, "_code", lambda: "other")
    memory_of(stage(method=contrast))
    memory_of(stage(method=Choice(name="contextrast", options={"embedding_dim": 32})))
    assert len(counts) == 4


def test_without_a_cache_it_is_counted_all_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SEGBENCH_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(count_cache, "_loaded", {})
    assert memory_of(stage()).activations > 0


OWN = """
schema: 1
version: 1
table: own
title: A light network
source: nowhere
base: {camvid: contextrast-table1/camvid-hrnet}
model:
  backbone:
    {name: hrnetv2, width: 8, modules: [1, 1, 1], blocks_per_branch: 1, stage1_blocks: 1, stem_channels: 16}
evaluation: {scales: [1.0], flip: false}
rows:
  plain: {figures: {camvid.test: {miou: "80.0"}}}
  twin: {augmentation: {flip: 0.0}, figures: {camvid.test: {miou: "81.0"}}}
  light: {schedule: {batch_total: 4}, figures: {camvid.test: {miou: "81.0"}}}
  waits: {method: {name: nobody-built-this}, figures: {camvid.test: {miou: "82.0"}}}
"""


@pytest.fixture
def own(tmp_path: Path) -> Catalog:
    catalog = load_catalog(recipes_root())
    (tmp_path / "own.yaml").write_text(OWN)
    add_file(catalog, tmp_path / "own.yaml")
    return catalog


def test_rows_that_wait_or_only_count_need_nothing(own: Catalog) -> None:
    assert [need.resolved.row for need in requirements(own, ["own"])] == ["plain", "twin", "light"]
    assert requirements(default_catalog(), ["contextrast-table7"]) == []


def test_rows_that_need_the_same_stand_together(own: Catalog) -> None:
    names = [[need.resolved.row for need in group] for group in grouped(requirements(own, ["own"]))]
    assert names == [["plain", "twin"], ["light"]]


def test_a_validation_may_need_more_than_a_step(own: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole images at single scale, beside the momenta."""
    step = MemoryEstimate(weights=1, optimizer=7)
    monkeypatch.setattr(fits, "training_memory", lambda *_, **__: step)
    (need, *_) = requirements(own, ["own"])
    training = need.resolved.ran.training
    assert training is not None
    (only,) = training.stages
    whole = evaluation_memory(only, evaluation())
    assert need.training() == whole.total + 7 > step.total
    blind = only.model_copy(update={"schedule": only.schedule.model_copy(update={"validate_every": None})})
    ran = replace(need.resolved.ran, training=TrainingSpec(stages=(blind,)))
    assert Requirement(replace(need.resolved, ran=ran), "bfloat16").training() == step.total


class _Given(Requirement):
    """A requirement of given sizes: 20 for training 16 images, 10 checkpointed; a quarter of it is fixed."""

    scoring = 5

    def training(self, *, micro_batch: int | None = None, checkpoint: bool = False) -> int:
        return int((10 if checkpoint else 20) * (0.25 + 0.75 * (micro_batch or 16) / 16) * GB)

    @property
    def evaluation(self) -> int:  # type: ignore[override]
        return self.scoring * GB

    @property
    def sliding(self) -> int:  # type: ignore[override]
        return 2 * GB


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (20.0, Fallback(20 * GB)),
        (19.9, Fallback(10 * GB, True)),
        (10.0, Fallback(10 * GB, True)),
        (9.0, Fallback(int(6.25 * GB), True, 8)),  # half the batch without checkpointing takes 12.5
        (5.0, Fallback(5 * GB, True, 4)),
        (4.9, Fallback(int(4.375 * GB), True, 4, (360, 480))),  # the evaluation no longer fits
        (3.0, Fallback(int(2.96875 * GB), True, 1, (360, 480))),
        (2.9, None),
        (1.9, None),
    ],
)
def test_the_fallback_that_costs_least(own: Catalog, size: float, expected: Fallback | None) -> None:
    (plain, *_) = requirements(own, ["own"])
    found = _Given(plain.resolved, "bfloat16").fit(int(size * GB))
    assert found == expected


def test_words_of_fallbacks() -> None:
    assert Fallback(1).words == () and Fallback(1).comparable and Fallback(1).short == "yes"
    assert Fallback(1, True).short == "ckpt" and Fallback(1, True, 4, (64, 96)).short == "ckpt+mb4+slide"
    assert Fallback(1, True).words == ("--checkpoint-activations",) and Fallback(1, True).comparable
    assert not Fallback(1, micro_batch=4).comparable and not Fallback(1, window=(2, 3)).comparable
    assert Fallback(1, True, 4, (64, 96)).words == (
        "--checkpoint-activations",
        "--micro-batch 4",
        "--set evaluation.mode=slide",
        "--set evaluation.window=[64,96]",
    )


def test_classes_of_memory() -> None:
    sizes = {1: 8, 8 * GB: 8, 8 * GB + 1: 12, 12 * GB: 12, 20 * GB: 24, 24 * GB + 1: 80, 80 * GB: 80}
    assert {count: size_class(count) for count in sizes} == sizes
    assert size_class(80 * GB + 1) is None


def test_micro_batches_that_are_offered(own: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    (plain, _, light) = requirements(own, ["own"])
    assert list(plain.micro_batches()) == [8, 4, 2, 1] and list(light.micro_batches()) == [2, 1]
    monkeypatch.setattr(fits, "_trains_on_single_images", lambda _: False)
    assert list(plain.micro_batches()) == [8, 4, 2]


def test_one_image_alone() -> None:
    assert fits._trains_on_single_images(stage(4))
    assert not fits._trains_on_single_images(
        stage(4, backbone=Choice(name="resnet", options={"width": 0.125}), decoder="deeplabv3")
    )


def test_a_published_protocol() -> None:
    """HRNetV2-W48, eight crops of 512x1024: counted once for both answers, in seconds."""
    (need, *_) = requirements(default_catalog(), ["contrastiveseg-table2"])
    assert need.batch == 8
    assert size_class(need.training()) == 24 and size_class(need.training(checkpoint=True)) == 8


def test_a_teacher_takes_memory_too() -> None:
    """The weights of the frozen network are there; its activations are not kept."""
    found = resolve(load_catalog(recipes_root()), "cfn-claims", "cfn-pspnet", "cityscapes", Request("smoke"))
    training = found.ran.training
    assert training is not None
    teacher, student = training.stages
    alone = count_stage(student, precision="float32")
    beside = count_stage(student, precision="float32", teachers=teachers_of(student, training))
    with torch.device("meta"):
        network = build_segmentor(teacher.model, num_classes=20)
    own = sum(tensor.numel() * tensor.element_size() for tensor in (*network.parameters(), *network.buffers()))
    assert own <= beside.weights - alone.weights <= own + 4 * 64 * 64 + 4 * 64 * 33  # and a projection
    assert teachers_of(teacher, training) == {}
