"""Estimates: positive, proportional to what is to do, and of the right order against a real training."""

import time
from pathlib import Path

import pytest
import torch

from segbench.capacity import time as module
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
from segbench.engine.runtime import Runtime
from segbench.engine.stage import run_stage
from segbench.recipe.catalog import load_catalog, recipes_root
from segbench.recipe.resolve import Request
from segbench.reproduce.estimates import estimate_plan
from segbench.reproduce.folders import Folders
from segbench.reproduce.plan import Item, Plan, make_plan

SMOKE = Request("smoke")
BACKBONE = {
    "width": 8, "modules": [1, 1, 1], "blocks_per_branch": 1, "stage1_blocks": 1, "stage1_width": 16,
    "stem_channels": 16,
}  # fmt: skip


def stage(steps: int = 20, *, crop: tuple[int, int] = (96, 96), batch: int = 2, images: int = 4) -> StageSpec:
    data = DataSpec(name="camvid", source="generated", size=crop, images=images)
    return StageSpec(
        streams={"labelled": StreamSpec(data=data, crop=crop, batch_total=batch)},
        model=ModelSpec(backbone=Choice(name="hrnetv2", options=BACKBONE), decoder=Choice(name="concat")),
        method=Choice(name="contextrast", options={"embedding_dim": 32}),
        schedule=ScheduleSpec(steps=steps, optimizer=OptimizerSpec(name="sgd", lr=0.01)),
    )


def estimated(one: StageSpec, *, images: int = 1) -> tuple[float, int]:
    data = DataSpec(name="camvid", source="generated", size=(96, 96), images=images)
    evaluation = EvaluationSpec(data=data)
    found = module.estimate(TrainingSpec(stages=(one,)), evaluation, Runtime(workers=0), {})
    return found.seconds, found.memory_bytes


def test_the_order_is_that_of_a_real_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.perf_counter", time.process_time)  # whatever else the machine does at the time
    seconds, _ = estimated(stage())
    start = time.process_time()
    run_stage(stage(), tmp_path, training="t", seed=0, runtime=Runtime(workers=0))
    real = time.process_time() - start
    assert real / 10 < seconds < real * 10


def test_a_large_step_is_probed_small_and_scaled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same step once as it is, and once by a probe of a crop of 64x64 with two images."""
    monkeypatch.setattr("time.perf_counter", time.process_time)
    large = stage(crop=(128, 128), batch=8)
    whole, memory = estimated(large)
    monkeypatch.setattr(module, "CHEAP_MACS", 0.0)
    monkeypatch.setattr(module, "SMALL", (64, 64))
    scaled, scaled_memory = estimated(large)
    assert whole / 10 < scaled < whole * 10
    assert memory == scaled_memory, "memory is that of the full step, by shapes alone"


def test_more_steps_and_more_images_take_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_step", lambda *_: 0.5)
    ten, _ = estimated(stage(10))
    assert ten > 0.5 * 10
    assert estimated(stage(20))[0] == pytest.approx(ten + 0.5 * 10)
    # An image of the crop's size costs a third of its share of a step.
    assert estimated(stage(10), images=7)[0] == pytest.approx(ten + 6 * 0.5 / 2 / 3)


def test_training_images_that_are_gathered_from_take_time_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """At two thirds of the way and at the end, each pixel of three images about twice."""
    monkeypatch.setattr(module, "_step", lambda *_: 0.5)
    plain = stage(12).model_copy(
        update={
            "model": ModelSpec(
                backbone=Choice(name="hrnetv2", options=BACKBONE),
                decoder=Choice(name="segsort", options={"channels": 8}),
            ),
            "method": Choice(name="segsort", options={"bank_images": 3}),
        }
    )
    often = plain.model_copy(update={"schedule": plain.schedule.model_copy(update={"validate_every": 8})})
    per_image = 0.5 / 2 / 3
    assert estimated(plain)[0] == pytest.approx(0.5 * 12 + per_image + 2 * 3 * per_image)
    # One validation of four images more is counted, and all of the images are gathered from twice.
    assert estimated(often)[0] == pytest.approx(0.5 * 12 + (1 + 4) * per_image + 2 * 2 * 3 * per_image)


def test_memory_grows_with_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_step", lambda *_: 0.5)
    one, two, three = (estimated(stage(batch=count))[1] for count in (1, 2, 3))
    assert three - two == pytest.approx(two - one, abs=2) and two > one


def test_what_is_done_takes_no_time_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A training that was stopped at step 100 of 150, between two validations, and one that is whole."""
    monkeypatch.setattr(module, "_step", lambda *_: 0.5)
    catalog, folders = load_catalog(recipes_root()), Folders(tmp_path, tmp_path)

    def planned() -> Item:
        table = "contextrast-table6"
        (item,) = make_plan(catalog, table, folders, row="layers-4", dataset="camvid", request=SMOKE).items
        plan = Plan(table, "", SMOKE, 1, [item])
        estimate_plan(plan, Runtime(), folders)
        return item

    before = planned()
    spec = before.resolved.ran.training
    assert spec is not None and before.reason == ""
    (only,) = spec.stages
    assert (only.schedule.steps, only.schedule.validate_every) == (150, 75)
    folder = folders.store.training_folder(before.training)
    folder.mkdir(parents=True)
    torch.save({"step": 100, "method": {"weight": torch.zeros(3)}}, folder / "state.pt")
    after = planned()
    assert (after.status, after.reason) == ("to do", "(from step 100)")
    saved = before.seconds - after.seconds
    images = 24 if only.streams["labelled"].data.images is None else only.streams["labelled"].data.images
    validation = images * 0.5 / only.streams["labelled"].batch_total / 3
    assert saved == pytest.approx(100 * 0.5 + validation, rel=0.01)
    (folder / "state.pt").write_bytes(b"cut off")
    assert planned().reason == "", "the training itself will say what is wrong"


def test_a_layer_that_the_network_does_not_have_is_refused_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_step", lambda *_: 0.5)
    catalog, folders = load_catalog(recipes_root()), Folders(tmp_path, tmp_path)
    request = Request("smoke", settings=(("evaluation.features.layer", 9),))
    plan = make_plan(catalog, "contextrast-table4", folders, row="upernet", dataset="camvid", request=request)
    with pytest.raises(InvalidFault, match=r"features.layer is 9, but this encoder has 4 layers") as fault:
        estimate_plan(plan, Runtime(), folders)
    assert fault.value.next == "the same command with --set evaluation.features.layer=4"


def test_equal_networks_are_probed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = []
    monkeypatch.setattr(module, "_step", lambda *_: steps.append(1) or 0.5)
    catalog, folders = load_catalog(recipes_root()), Folders(tmp_path, tmp_path)
    plan = make_plan(catalog, "contextrast-table8b", folders, request=Request("smoke"), seeds=2)
    estimate_plan(plan, Runtime(), folders)
    assert len(plan.trainings()) == 10
    assert len(steps) == 2, "one to warm up, one to measure, as half a second is enough"
    assert all(item.seconds and item.memory_bytes for item in plan.items)
    assert plan.seconds == pytest.approx(10 * plan.items[0].seconds)
