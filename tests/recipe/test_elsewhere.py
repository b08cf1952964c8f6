"""A row on other data: what belongs to the old data goes, all else stays, and every change is a deviation."""

import pytest

from segbench.core.errors import UsageFault
from segbench.recipe.deviations import between
from segbench.recipe.resolve import Request, resolve, resolve_all

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
            moved = resolve(shipped, table, plain.row, plain.dataset, Request(on=name))
            for stage in moved.ran.training.stages:
                for stream in stage.streams.values():
                    assert (stream.data.name, stream.data.classes, stream.data.size) == (name, None, None)
            assert moved.ran.evaluation.data.name == name
            assert moved.ran.training.id() != plain.ran.training.id()
            assert moved.server is None


def test_a_row_on_its_own_data_or_on_none(shipped):
    with pytest.raises(UsageFault, match="has figures on camvid itself") as fault:
        resolve(shipped, "contextrast-table6", "layers-4", "cityscapes", ON)
    assert fault.value.next == "segbench reproduce contextrast-table6/layers-4 --dataset camvid"
    with pytest.raises(UsageFault, match="No dataset 'camvit'"):
        resolve(shipped, "contrastiveseg-table2", "ce", "cityscapes", Request(on="camvit"))
