"""A row on another dataset: what is specific to the old one is dropped, and every change is a deviation."""

import pytest
from pydantic import Field

from segbench.core import registry
from segbench.core.errors import UsageFault
from segbench.core.registry import options_of
from segbench.recipe.catalog import load_catalog, recipes_root
from segbench.recipe.deviations import between
from segbench.recipe.resolve import Request, resolve, resolve_all
from tests.recipe.made import HEAD, ROWS

ON = Request(on="camvid")


def test_by_hand(shipped):
    """512x1024 crops and 19 class weights on images of 360x480 with 11 classes."""
    moved = resolve(shipped, "contrastiveseg-table2", "ce", "cityscapes", ON)
    (stage,) = moved.ran.training.stages
    (stream,) = stage.streams.values()
    assert (stream.data.name, stream.data.splits, stream.crop) == ("camvid", ("train",), (360, 480))
    assert stage.method.options.get("class_weights") is None
    assert (moved.ran.evaluation.data.name, moved.ran.evaluation.data.splits) == ("camvid", ("test",))
    (was,) = moved.published.training.stages
    assert (was.schedule, was.model, was.weights) == (stage.schedule, stage.model, stage.weights)
    assert {each.path for each in between(moved.published, moved.ran)} >= {"crop", "method.class_weights"}
    assert any("data set camvid instead of cityscapes" in str(each) for each in between(moved.published, moved.ran))
    assert (moved.dataset, moved.runs_on) == ("cityscapes", "camvid")


def test_the_budget_comes_after(shipped):
    """The factor is that of the crops that are cut: sqrt(43200 / (360 * 480)) = 0.5."""
    moved = resolve(shipped, "contrastiveseg-table2", "ce", "cityscapes", Request("small", on="camvid"))
    (stage,) = moved.ran.training.stages
    (stream,) = stage.streams.values()
    assert (stream.crop, stream.data.scale) == ((180, 240), 0.5)
    assert moved.ran.evaluation.data.scale == 0.5


@pytest.mark.parametrize(
    ("table", "row", "labelled"),
    [
        ("semiseg-table1", "imagenet-deeplabv2-1_8", 46),  # 372 of 2,975 images of 367
        ("label-efficient-table1", "cityscapes-596-contrast", 74),  # 596, two of ten shards
    ],
)
def test_a_labelled_subset_keeps_its_share(shipped, table, row, labelled):
    moved = resolve(shipped, table, row, "cityscapes", ON)
    for stage in moved.ran.training.stages:
        subset = stage.primary_stream.data.subset
        assert (subset.count, subset.rule, subset.order, subset.num_shards) == (labelled, "random", "sorted", None)
        assert stage.primary_stream.data.scale == 1  # half of 1024 rows is more than 360


def test_a_classifier_of_the_old_classes_is_left_out(shipped):
    moved = resolve(shipped, "semiseg-table2", "coco-deeplabv2-1_50", "voc2012", ON)
    assert [stage.weights.classifier for stage in moved.published.training.stages] == [True]
    assert [stage.weights.classifier for stage in moved.ran.training.stages] == [False]


def test_class_weights_that_are_a_rule_stay(shipped):
    moved = resolve(shipped, "semiseg-table1", "imagenet-deeplabv2-1_8", "cityscapes", ON)
    (stage,) = moved.ran.training.stages
    assert stage.method.options["class_weights"] == "sqrt_median_frequency"


def test_a_source_domain_cannot_be_replaced_by_the_target(shipped):
    for row in resolve_all(shipped, "semiseg-table3"):
        with pytest.raises(UsageFault, match="cityscapes and gta5; --on camvid cannot stand for both"):
            resolve(shipped, "semiseg-table3", row.row, "cityscapes", ON)


def test_windows_shrink_too_and_settings_win(shipped):
    request = Request(on="camvid", settings=(("evaluation.split", "val"),))
    moved = resolve(shipped, "contrastiveseg-table1", "pspnet-r101", "cityscapes", request)
    evaluation = moved.ran.evaluation
    assert (evaluation.window, evaluation.stride) == ((360, 480), (360, 476))
    assert evaluation.data.splits == ("val",)


def test_images_of_many_sizes_limit_no_crop(shipped):
    moved = resolve(shipped, "contrastiveseg-table2", "ce", "cityscapes", Request(on="ade20k"))
    (stage,) = moved.ran.training.stages
    (stream,) = stage.streams.values()
    assert (stream.crop, stream.data.name) == ((512, 1024), "ade20k")
    assert moved.ran.evaluation.data.splits == ("val",)


@pytest.mark.parametrize("name", ["camvid", "ade20k", "coco-stuff-10k"])
def test_every_row_can_move(shipped, name):
    """Classes, sizes and splits of the old data are gone from every stage and stream."""
    for table in shipped.tables:
        for plain in resolve_all(shipped, table):
            if plain.ran.training is None or name in plain.table.datasets(plain.row):
                continue
            if plain.published.cost is not None:
                with pytest.raises(UsageFault, match="counted, not scored on images"):
                    resolve(shipped, table, plain.row, plain.dataset, Request(on=name))
                continue
            if table == "semiseg-table3":
                continue
            moved = resolve(shipped, table, plain.row, plain.dataset, Request(on=name))
            for stage in moved.ran.training.stages:
                for stream in stage.streams.values():
                    assert (stream.data.name, stream.data.classes, stream.data.size) == (name, None, None)
            assert moved.ran.evaluation.data.name == name
            assert moved.ran.training.id() != plain.ran.training.id()
            assert moved.server is None


def told(stage):
    """Return the options of a stage's pixel contrast, defaults included."""
    assert stage.method.name == "pixel-contrast"
    return options_of("method", "pixel-contrast").model_validate(stage.method.options)


def contrast(shipped, on, *settings, row="contrastiveseg-table1/hrnetv2-w48-contrast", **readings):
    """Options of the method that runs, and the words of what differs in them."""
    chosen = tuple((name.replace("_", "-"), option) for name, option in readings.items())
    moved = resolve(shipped, *row.split("/"), "cityscapes", Request(on=on, readings=chosen, settings=settings))
    words = {str(each) for each in between(moved.published, moved.ran) if each.path.startswith("method.")}
    return told(moved.ran.training.stages[0]), words


def test_excluded_classes_are_those_of_the_same_names(shipped):
    """Train id 0 is road of Cityscapes, sky of CamVid, where road is 3, wall of ADE20K, where road is 6."""
    for on, label in (("camvid", 3), ("ade20k", 6), ("gta5", 0)):
        options, words = contrast(shipped, on, road_class="excluded")
        assert options.exclude_classes == (label,)
        assert (f"method exclude classes {label} instead of 0" in words) == (label > 0)
    moved, words = contrast(shipped, "voc2012", road_class="excluded")  # which has no such class
    assert moved.exclude_classes == ()
    assert "method exclude classes none instead of 0" in words
    assert contrast(shipped, "camvid")[0].exclude_classes == ()
    assert contrast(shipped, "camvid", ("method.exclude_classes", [0]))[0].exclude_classes == (0,)


def test_a_bank_of_the_training_set_follows_it(shipped):
    """One region an image and 10 times as many pixels: of CamVid's 367 images, of ADE20K's 20210."""
    for on, images in (("camvid", 367), ("ade20k", 20210)):
        options, words = contrast(shipped, on)
        assert (options.regions_per_class, options.pixels_per_class) == (images, 10 * images)
        assert any(text.startswith(f"method regions per class {images:,} ") for text in words)
        assert any(text.startswith(f"method pixels per class {10 * images:,} ") for text in words)
    options, words = contrast(shipped, "camvid", memory_size="released")  # a size by itself
    assert (options.regions_per_class, options.pixels_per_class) == (5000, 5000)
    assert not any("per class" in text for text in words)
    both = ("data.splits", ["train", "val"])
    assert contrast(shipped, "camvid", both)[0].regions_per_class == 367, "settings come after"


def test_a_data_set_of_unknown_size_leaves_a_bank_as_it_is(monkeypatch):
    class Unknown(options_of("dataset", "camvid")):
        splits: dict[str, tuple[int, ...]] = Field(default={"train": (), "test": ()})

    real = registry.options_of
    monkeypatch.setattr(registry, "options_of", lambda kind, name: Unknown if name == "camvid" else real(kind, name))
    assert contrast(load_catalog(recipes_root()), "camvid")[0].regions_per_class == 2975


def test_a_method_of_a_stage_follows_the_data_of_its_stage(write):
    """One stage is trained on the table's Cityscapes, the other on CamVid's train and val with void for a class."""
    method = "{name: pixel-contrast, form: paper, keys: memory, exclude_classes: [%d], regions_per_class: %d}"
    text = HEAD.replace("{name: camvid}", "{name: cityscapes}").replace("{name: contextrast}", method % (10, 2975))
    text += "stages: [{name: first}, {name: second, from: first, data: {name: camvid, splits: [train, val], "
    text += "classes: camvid-12}, method: " + method % (8, 2 * 468) + "}]\n" + ROWS.replace("camvid.", "cityscapes.")
    moved = resolve(write(one=text), "made-one", "base", "cityscapes", Request(on="ade20k"))
    first, second = map(told, moved.ran.training.stages)
    assert (first.exclude_classes, first.regions_per_class) == ((2,), 20210)  # sky
    assert (second.exclude_classes, second.regions_per_class) == ((20,), 2 * (20210 + 2000))  # car


def test_a_row_on_its_own_data_or_on_none(shipped):
    with pytest.raises(UsageFault, match="has figures on camvid itself") as fault:
        resolve(shipped, "contextrast-table6", "layers-4", "cityscapes", ON)
    assert fault.value.next == "segbench reproduce contextrast-table6/layers-4 --dataset camvid"
    with pytest.raises(UsageFault, match="No dataset 'camvit'"):
        resolve(shipped, "contrastiveseg-table2", "ce", "cityscapes", Request(on="camvit"))
