"""A budget limits what is above its limits, in proportion where things belong together, and nothing else."""

import inspect
from pathlib import Path

import pytest
import torch

from segbench.core import registry
from segbench.models.segmentor import build_segmentor
from segbench.recipe.resolve import Request, resolve, resolve_all
from segbench.recipe.tree import flatten, pick, plain
from tests.recipe.made import HEAD, ROWS

LIMITS = {"small": (43_200, 1_100, 8), "smoke": (12_288, 150, 4)}


@pytest.mark.parametrize("budget", LIMITS)
def test_every_row_resolves_and_keeps_to_the_limits(shipped, budget):
    pixels, steps, batch = LIMITS[budget]
    for resolved in (each for table in shipped.tables for each in resolve_all(shipped, table, Request(budget))):
        published, ran = resolved.published.training, resolved.ran.training
        for theirs, ours in zip(published.stages, ran.stages, strict=True):
            assert ours.schedule.steps == min(steps, theirs.schedule.steps)
            assert ours.weights.backbone == "random"
            assert ours.weights.file is None
            for name, stream in ours.streams.items():
                was = theirs.streams[name]
                assert stream.batch_total == min(batch, was.batch_total)
                assert 0.9 * pixels < stream.crop[0] * stream.crop[1] <= pixels
                # Image and crop shrink alike, so that a crop shows as much of the scene.
                for side, old in zip(stream.crop, was.crop, strict=True):
                    share = stream.data.scale / was.data.scale
                    if was.data.size:
                        share = stream.data.size[0] / was.data.size[0]
                    assert side == pytest.approx(old * share, abs=1.01)
                assert stream.data.source == ("generated" if budget == "smoke" else "folder")
                assert stream.data.images == (24 if budget == "smoke" else None)
                assert (stream.data.name, stream.data.classes) == (was.data.name, was.data.classes)
        evaluation = resolved.ran.evaluation
        assert (evaluation.scales, evaluation.flip) == ((1.0,), False)
        assert evaluation.data.name == resolved.published.evaluation.data.name


def test_optimisers_are_replaced_and_scales_narrowed_but_never_widened(shipped):
    for budget, rate in (("small", 3e-3), ("smoke", 4e-3)):
        for resolved in (each for table in shipped.tables for each in resolve_all(shipped, table, Request(budget))):
            for theirs, ours in zip(resolved.published.training.stages, resolved.ran.training.stages, strict=True):
                optimizer = ours.schedule.optimizer
                assert (optimizer.name, optimizer.lr, optimizer.momentum) == ("adamw", rate, 0.0), resolved.name
                for part in (ours.model.backbone, ours.model.decoder):  # one rate for all that is trained
                    assert part.options.get("lr_factor", 1) == 1, resolved.name
                for name, stream in ours.streams.items():
                    low, high = theirs.streams[name].augmentation.scale
                    assert stream.augmentation.scale == (max(low, 0.75), min(high, 1.5)), resolved.name


def test_camvid_at_small_by_hand(shipped):
    """The numbers of the recipe: 360x480 and 6,000 steps of 16 images at 2e-2."""
    (stage,) = resolve(shipped, "contextrast-table6", "layers-4", "camvid", Request("small")).ran.training.stages
    (stream,) = stage.streams.values()
    assert (stream.crop, stream.data.scale, stream.batch_total) == ((180, 240), 0.5, 8)
    assert (stage.schedule.steps, stage.schedule.validate_every) == (1100, 275)
    assert (stage.schedule.optimizer.name, stage.schedule.optimizer.lr) == ("adamw", 3e-3)
    assert stream.augmentation.scale == (0.75, 1.5)
    assert stage.model.backbone.options == {
        "width": 16, "modules": [1, 1, 1], "blocks_per_branch": 2, "stage1_blocks": 1, "stage1_width": 16,
        "stem_channels": 32,
    }  # fmt: skip
    assert stage.model.decoder.options["head"] == "conv1x1"
    assert stage.method.options["embedding_dim"] == 64


def test_halved_images_stay_halved_in_every_stream(shipped):
    """Table 3 of SemiSeg works on half-size images; so do the streams that leave the size to the table."""
    found = resolve(shipped, "semiseg-table3", "gta5-deeplabv3plus-1_30", "cityscapes", Request("small"))
    (stage,) = found.ran.training.stages
    factor = (43_200 / 512**2) ** 0.5
    for name in ("labelled", "source", "unlabelled"):
        assert stage.streams[name].data.scale == pytest.approx(0.5 * factor, abs=1e-4)
    assert stage.streams["unlabelled"].data.unlabelled_rest
    assert stage.streams["source"].data.name == "gta5"


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind in ("backbone", "decoder", "method") for name in registry.names(kind)]
)
def test_every_entry_declares_its_own_limits(kind, name):
    """Inherited limits are those of another network or method; values that change nothing say so with a comment."""
    options = registry.options_of(kind, name)
    for budget in ("SMALL", "SMOKE"):
        limits = vars(options).get(budget)
        assert limits is not None, f"{kind} {name} declares no {budget}"
        assert options.model_validate(limits).model_fields_set == set(limits)
        if not limits:
            lines = Path(inspect.getfile(options)).read_text(encoding="utf-8").splitlines()
            first = next(index for index, line in enumerate(lines) if line.strip().startswith("SMALL"))
            assert lines[first - 1].strip().startswith("#"), f"{kind} {name}: no reason for an empty {budget}"


BUDGETS = """
schema: 1
budgets:
  tiny: {says: tiny, max_steps: 10, max_batch: 3, max_crop_pixels: 4096}
  fixed:
    says: fixed values
    schedule: {validate_every: 25}
    evaluation: {scales: [1.0]}
    weights: {backbone: random}
    options: small
  none: {says: nothing}
"""
STEPS = """\
schedule:
  steps: 100
  batch_total: 6
  crop: [128, 128]
  optimizer: {name: sgd, lr: 0.6}
  policy: {name: poly, warmup_steps: 40}
  validate_every: 20
"""


@pytest.fixture
def made(write):
    def load(extra="", **replaced):
        head = "\n".join(each for each in HEAD.splitlines() if not each.startswith(("schedule", *replaced)))
        lines = [f"{key}: {value}" for key, value in replaced.items()]
        return write(one="\n".join([head, *lines, extra, ROWS]), budgets=BUDGETS)

    return load


def ran(catalog, budget="tiny"):
    return resolve(catalog, "made-one", "base", "camvid", Request(budget)).ran


def test_fields_that_count_steps_shrink_in_proportion(made):
    (stage,) = ran(made(STEPS, method="{name: contextrast, starts_at_step: 50}")).training.stages
    schedule = stage.schedule
    assert (schedule.steps, schedule.policy.warmup_steps, schedule.validate_every) == (10, 4, 2)
    assert stage.method.options["starts_at_step"] == 5


def test_of_an_unregistered_method_the_names_say_it(made):
    method = "{name: to-come, ramp_up_steps: 30, warm: {up_steps: 1}, zero_steps: 0, none_steps: null, per_step: 30}"
    (stage,) = ran(made(STEPS, method=method)).training.stages
    assert stage.method.options == {
        "ramp_up_steps": 3, "warm": {"up_steps": 1}, "zero_steps": 0, "none_steps": None, "per_step": 30
    }  # fmt: skip


def test_what_is_below_a_limit_stays(made):
    text = STEPS.replace("100", "9").replace("batch_total: 6", "batch_total: 2").replace("[128, 128]", "[64, 64]")
    catalog = made(text, data="{name: camvid, scale: 0.5}")
    plainly = resolve(catalog, "made-one", "base", "camvid")
    assert ran(catalog) == plainly.published
    assert ran(catalog, "none") == plainly.published


def test_fixed_values_are_limits_too(made):
    model = "{backbone: {name: hrnetv2, width: 8}, decoder: {name: concat}}"
    text = STEPS + "weights: {backbone: imagenet}\n"
    (stage,) = ran(made(text, model=model, method="{name: contextrast, embedding_dim: 16}"), "fixed").training.stages
    assert stage.model.backbone.options == {
        "width": 8, "modules": [1, 1, 1], "blocks_per_branch": 2, "stage1_blocks": 1, "stage1_width": 16,
        "stem_channels": 32,
    }  # fmt: skip
    assert stage.method.options["embedding_dim"] == 16
    assert stage.schedule.validate_every == 20
    assert stage.weights.backbone == "random"
    (stage,) = ran(made(STEPS.replace("every: 20", "every: 30")), "fixed").training.stages
    assert (stage.model.backbone.options["width"], stage.method.options["embedding_dim"]) == (16, 64)
    assert stage.schedule.validate_every == 25


def test_evaluation_shrinks_with_the_images(made):
    text = STEPS + "evaluation: {split: val, mode: slide, window: [128, 256], stride: [64, 100], scale: 0.8}\n"
    evaluation = ran(made(text)).evaluation
    assert (evaluation.window, evaluation.stride) == ((64, 128), (32, 50))
    assert evaluation.data.scale == 0.4
    evaluation = ran(made(STEPS, data="{name: camvid, size: [256, 512]}")).evaluation
    assert (evaluation.data.size, evaluation.data.scale) == ((128, 256), 1.0)


STAGES = (
    STEPS
    + """\
stages:
  - name: same
  - name: batch
    schedule: {batch_total: 2}
  - name: rate
    schedule: {optimizer: {lr: 0.2}}
  - name: short
    schedule: {steps: 20, crop: [64, 64]}
    data: {scale: 0.5}
  - name: streams
    from: short
    method: {name: supervised}
    streams:
      labelled: {}
      other: {batch_total: 30, data: {name: cityscapes, scale: 0.5}}
      small: {batch_total: 1, crop: [96, 96], augmentation: {flip: 0.5}}
"""
)


def test_stages_and_streams_are_scaled_as_the_wholes_that_they_are(made):
    training = ran(made(STAGES, method="{name: contextrast, starts_at_step: 50}")).training
    stages = {stage.name: stage for stage in training.stages}

    def facts(stage, stream="labelled"):
        found = stages[stage].streams[stream]
        return found.batch_total, found.crop, found.data.scale

    def rates(stage):
        schedule = stages[stage].schedule
        return schedule.steps, schedule.policy.warmup_steps, schedule.optimizer.lr

    # 128x128 is the largest crop: every side is halved. 6 images become 3; rates stay.
    assert (facts("same"), rates("same")) == ((3, (64, 64), 0.5), (10, 4, 0.6))
    assert (facts("batch"), rates("batch")) == ((2, (64, 64), 0.5), (10, 4, 0.6))
    assert (facts("rate"), rates("rate")) == ((3, (64, 64), 0.5), (10, 4, 0.2))
    assert (facts("short"), rates("short")) == ((3, (32, 32), 0.25), (10, 20, 0.6))
    assert facts("streams", "other") == (3, (64, 64), 0.25)
    assert facts("streams", "small") == (1, (48, 48), 0.5)
    assert stages["streams"].streams["other"].data.name == "cityscapes"
    # 50 of 100 steps, but 50 of 20: each stage in its own proportion.
    assert [stages[name].method.options.get("starts_at_step") for name in ("same", "short", "streams")] == [5, 25, None]


@pytest.mark.parametrize("dataset", ["camvid", "cityscapes"])  # 16 images a batch, and 8, which is the limit itself
def test_what_a_budget_leaves_keeps_its_origin(shipped, dataset):
    found = resolve(shipped, "contextrast-table6", "layers-4", dataset, Request("small"))
    layers = {path: leaf.origin.layer for path, leaf in flatten(found.tree).items()}
    changed = {path for path, layer in layers.items() if layer == "budget small"}
    before = flatten(plain(resolve(shipped, "contextrast-table6", "layers-4", dataset).tree))
    after = flatten(plain(found.tree))
    assert changed == {path for path in after if path not in before or before[path] != after[path]}
    assert pick(found.tree, "schedule.steps").origin.where.startswith("budgets.yaml:")


def test_numbers_written_as_words_are_scaled_too(made):
    text = STEPS.replace("steps: 100", 'steps: "100"').replace("lr: 0.6", 'lr: "0.6"').replace(" 6\n", ' "6"\n')
    (stage,) = ran(made(text)).training.stages
    assert (stage.schedule.steps, stage.schedule.optimizer.lr) == (10, 0.6)
    assert stage.streams["labelled"].batch_total == 3


def test_running_statistics_keep_up_with_few_steps(shipped):
    """A momentum below the budget's is raised, stated (SpyGR's 3e-4) or a default (Xception's); others stay.

    Less would keep the first statistics for longer than the training.
    """
    for row, published in (("spygr-r101", None), ("deeplabv3plus-xception71", 3e-4), ("hrnetv2-w48", None)):
        resolved = resolve(shipped, "contrastiveseg-table1", row, "cityscapes", Request("small"))
        (stage,) = resolved.ran.training.stages
        for part in (stage.model.backbone, stage.model.decoder):
            assert part.options.get("bn_momentum", 0.1) == 0.1, (row, part)
        with torch.device("meta"):
            network = build_segmentor(stage.model, num_classes=19)
        norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
        assert norms
        assert {module.momentum for module in norms} == {0.1}
        if published is not None:
            (was,) = resolved.published.training.stages
            assert was.model.decoder.options["bn_momentum"] == published
