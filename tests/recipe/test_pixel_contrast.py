"""Rows with pixel contrast against the published and released values, written down by hand."""

import pytest

from segbench.core.registry import options_of
from segbench.recipe.resolve import Request, resolve

ROW = ("contrastiveseg-table1", "hrnetv2-w48-contrast", "cityscapes")


def options(shipped, *row, budget="full", **readings):
    chosen = tuple((name.replace("_", "-"), option) for name, option in readings.items())
    stage = resolve(shipped, *row, Request(budget, readings=chosen)).ran.training.stages[0]
    assert stage.method.name == "pixel-contrast"
    return options_of("method", "pixel-contrast").model_validate(stage.method.options)


def test_released_reading(shipped):
    found = options(shipped, *ROW, contrast_form="released")
    assert (found.form, found.keys, found.features, found.embedding_dim) == ("released", "batch", "concat", 256)
    assert (found.max_anchors, found.max_views, found.min_pixels) == (1024, 100, 101)
    assert (found.weight, found.temperature, found.base_temperature) == (0.1, 0.1, 0.07)
    assert (found.starts_after_steps, found.images_per_group, found.exclude_classes) == (5000, 2, ())


def test_paper_reading(shipped):
    found = options(shipped, *ROW)
    assert (found.form, found.keys, found.weight) == ("paper", "memory", 0.1)
    assert (found.anchors_per_class, found.hard_anchor_share) == (50, 0.5)
    assert (found.positives_per_anchor, found.negatives_per_anchor, found.semi_hard_percent) == (1024, 2048, 10)
    assert (found.regions_per_image, found.pixels_per_image) == (1, 10)
    assert (found.regions_per_class, found.pixels_per_class) == (2975, 10 * 2975)
    assert found.temperature == found.base_temperature == 0.1
    assert found.images_per_group is None, "50 anchors a class are those of a mini-batch"
    assert found.memory_defects == ()
    other = options(shipped, *ROW, temperature="0.07", loss_weight="1")
    assert other.temperature == other.base_temperature == 0.07
    assert other.weight == 1


def test_released_memory_reading(shipped):
    """The release's memory configuration is one thing: no other reading has to be taken with it."""
    found = options(shipped, *ROW, contrast_form="released-memory")
    assert (found.form, found.keys, found.weight) == ("released", "memory", 1.0)
    assert (found.max_anchors, found.max_views, found.min_pixels) == (1024, 1, 2)
    assert (found.regions_per_class, found.pixels_per_class, found.pixels_per_image) == (5000, 5000, 10)
    assert found.temperature == found.base_temperature == 0.07
    assert (found.starts_after_steps, found.images_per_group, found.memory_defects) == (5000, 2, ())
    assert options(shipped, *ROW, contrast_form="released-memory", road_class="excluded").exclude_classes == (0,)


@pytest.mark.parametrize(("form", "steps"), [("paper", 1000), ("released", 1000), ("released-memory", 2000)])
def test_steps_between_validations(shipped, form, steps):
    found = resolve(shipped, *ROW, Request(readings=(("contrast-form", form),)))
    assert found.ran.training.stages[0].schedule.validate_every == steps


def test_the_temperature_is_open_where_the_form_does_not_say_it(shipped):
    def uses(form):
        readings = (("contrast-form", form), ("temperature", "0.07"))
        found = resolve(shipped, *ROW, Request(readings=readings))
        return {use.name: use.option for use in found.readings}

    assert uses("paper")["temperature"] == uses("released")["temperature"] == "0.07"
    assert "temperature" not in uses("released-memory")


@pytest.mark.parametrize(
    ("row", "form", "name", "size", "confidence"),
    [
        ("hrnetv2-w48-contrast", "released", "loss-groups", 2, "medium"),
        ("hrnetv2-w48-contrast", "released-memory", "loss-groups", 2, "medium"),
        ("deeplabv3-mobilenetv3-contrast", "released", "loss-groups-of-16", 2, "low"),
        ("deeplabv3-mobilenetv3-contrast", "paper", "contrast-batch", None, "low"),
        ("ocr-r101-contrast", "paper", "contrast-batch", None, "low"),
    ],
)
def test_groups_of_images(shipped, row, form, name, size, confidence):
    """The release: each GPU's 2 of 8 images, of the batch of 16 nothing is known; the paper: the mini-batch."""
    found = resolve(shipped, ROW[0], row, ROW[2], Request(readings=(("contrast-form", form),)))
    grouped = {use.name: use.confidence for use in found.readings if "groups" in use.name or use.name.endswith("batch")}
    assert grouped == {name: confidence}
    assert options(shipped, ROW[0], row, ROW[2], contrast_form=form).images_per_group == size


@pytest.mark.parametrize(
    ("row", "features", "init"),
    [
        ("deeplabv3-mobilenetv2-contrast", "last", "kaiming"),
        ("deeplabv3-r101-contrast", "last", "kaiming"),
        ("ocr-r101-contrast", "last", "torch"),
        ("ocr-hrnetv2-w48-contrast", "concat", "torch"),
    ],
)
def test_where_the_head_attaches(shipped, row, features, init):
    found = options(shipped, ROW[0], row, ROW[2], contrast_form="released")
    assert (found.features, found.head_init) == (features, init)
    assert (found.max_views, found.min_pixels) == ((6, 7) if "mobilenet" in row else (100, 101))


def test_budgets_keep_the_warm_up_in_proportion(shipped):
    found = options(shipped, *ROW, budget="smoke")
    assert found.starts_after_steps == round(5000 * 150 / 80000)
    assert found.regions_per_class * 10 == found.pixels_per_class
