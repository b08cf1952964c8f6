"""Equal trainings share an id, whatever they are called; what differs does not."""

import itertools

import pytest

from segbench.recipe.resolve import Request, resolve, resolve_all
from tests.recipe.made import HEAD, ROWS


def training(catalog, table, row, dataset="camvid", request=None):
    found = resolve(catalog, table, row, dataset, request)
    assert found.ran.training is not None
    return found.ran.training


BEST = {  # 84.33 is printed four times: one training
    "contextrast-table5": "highest-layer",
    "contextrast-table6": "layers-4-3-2-1",
    "contextrast-table8a": "lambda-1.0-0.7-0.4-0.1",
    "contextrast-table8b": "alpha-0.1",
}


@pytest.mark.parametrize("budget", ["full", "small", "smoke"])
def test_one_training_stands_in_four_tables(shipped, budget):
    request = Request(budget)
    assert len({training(shipped, table, row, request=request).id() for table, row in BEST.items()}) == 1
    found = [resolve(shipped, table, row, "camvid", request) for table, row in BEST.items()]
    assert len({each.ran.evaluation.id() for each in found}) == 1
    others = {
        training(shipped, table, row, request=request).id()
        for table, best in BEST.items()
        for row in shipped.table(table).file.rows
        if row != best
    }
    rows = sum(len(shipped.table(table).file.rows) - 1 for table in BEST)
    assert len(others) == rows == 1 + 3 + 6 + 4
    assert training(shipped, *next(iter(BEST.items())), request=request).id() not in others


def test_its_cityscapes_twin(shipped):
    ids = {training(shipped, table, BEST[table], "cityscapes").id() for table in list(BEST)[:2]}
    assert len(ids) == 1
    assert ids.isdisjoint({training(shipped, table, row).id() for table, row in BEST.items()})


@pytest.mark.parametrize("row", ["upernet", "upernet+mscs", "upernet+contextrast"])
def test_tables_2_3_and_4_score_the_same_models(shipped, row):
    """Table 3 is the test server's view of table 2, table 4 looks at the features of the same networks."""
    first = resolve(shipped, "contextrast-table2", row, "cityscapes")
    second = resolve(shipped, "contextrast-table3", row, "cityscapes")
    third = resolve(shipped, "contextrast-table4", row, "cityscapes")
    assert first.ran.training.id() == second.ran.training.id() == third.ran.training.id()
    assert first.ran.evaluation.data.splits == ("val",)
    assert second.ran.evaluation.data.splits == ("test",)
    assert training(shipped, "contextrast-table2", row).id() == training(shipped, "contextrast-table4", row).id()


def test_the_baseline_is_the_row_of_settings(shipped):
    baseline = training(shipped, "contextrast-table2", "upernet").id()
    assert baseline == training(shipped, "contextrast-table1", "camvid-upernet").id()
    assert (
        training(shipped, "contrastiveseg-table2", "ce", "cityscapes").id()
        != training(shipped, "contrastiveseg-table1", "hrnetv2-w48", "cityscapes").id()
    )  # 40,000 steps, weighted classes


def test_seeds_differ_and_share_a_family(shipped):
    seeds = [training(shipped, "contextrast-table6", "layers-4", request=Request(seed=seed)) for seed in range(3)]
    assert len({each.id() for each in seeds}) == 3
    assert len({each.family() for each in seeds}) == 1
    assert seeds[0].family() == seeds[0].id()


def test_an_evaluation_never_changes_the_training(shipped):
    plain = resolve(shipped, "contextrast-table6", "layers-4", "camvid")
    for reading in (("camvid-split", "val"), ("evaluation-scales", "single"), ("checkpoint", "best")):
        other = resolve(shipped, "contextrast-table6", "layers-4", "camvid", Request(readings=(reading,)))
        assert other.ran.training.id() == plain.ran.training.id()
        assert other.ran.evaluation.id() != plain.ran.evaluation.id()


SAME = [
    ("method: {name: contextrast}", "method: {name: contextrast, alpha: 0.1, distance: edt}"),
    ("method: {name: contextrast}", "method: {name: contextrast, layer_weights: {1: 0.1, 2: 0.4, 3: 0.7, 4: 1}}"),
    ("method: {name: contextrast}", "method: {name: contextrast, anchor_layers: [1, 2, 3, 4]}"),
    ("data: {name: camvid}", "data: {splits: [train], scale: 1, name: camvid}"),
    ("{name: hrnetv2}", "{width: 48, name: hrnetv2, modules: [1, 4, 3]}"),
    ("{name: hrnetv2}", "hrnetv2"),
    ("lr: 1e-1", "lr: 0.1, momentum: 0, no_decay: []"),
    ("steps: 100, batch_total: 4", "batch_total: 4, steps: 100, policy: {name: poly, power: 0.9, warmup_steps: 0}"),
    ("table: made-one", "table: made-two"),
    ("  base:\n", "  basis:\n"),
    ("rows:", "weights: {backbone: random}\naugmentation: {flip: 0.0}\nrows:"),
    ("rows:", "stages: [{name: train}]\nrows:"),
    ("rows:", "stages: [{name: train, streams: {labelled: {batch_total: 4}}}]\nrows:"),
    ("rows:", "stages: [{name: train, primary: labelled}]\nrows:"),
    ("rows:", "evaluation: {split: val}\nrows:"),
]
OTHER = [
    ("alpha", "method: {name: contextrast}", "method: {name: contextrast, alpha: 0.2}"),
    ("method", "method: {name: contextrast}", "method: {name: supervised}"),
    ("batch", "batch_total: 4", "batch_total: 5"),
    ("stream", "rows:", "stages: [{name: train, streams: {labelled: {batch_total: 6}}}]\nrows:"),
    ("stage", "rows:", "stages: [{name: train}, {name: again, from: train}]\nrows:"),
    ("order of crop", "crop: [64, 64]", "crop: [64, 96]"),
    ("other order of crop", "crop: [64, 64]", "crop: [96, 64]"),
    ("weights", "rows:", "weights: {backbone: imagenet}\nrows:"),
    ("flip", "rows:", "augmentation: {flip: 0.5}\nrows:"),
]


def first_id(write, old="", new=""):
    text = HEAD + ROWS.replace(', miou_gain: {printed: "+2.0", over: base}', "")
    catalog = write(one=text.replace(old, new, 1) if old else text)
    table = next(iter(catalog.tables))
    return training(catalog, table, next(iter(catalog.table(table).file.rows))).id()


@pytest.mark.parametrize(("old", "new"), SAME)
def test_defaults_names_and_order_do_not_change_an_id(write, old, new):
    assert first_id(write, old, new) == first_id(write)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (
            "{name: contextrast, layer_weights: {4: 1.0, 3: 0.2}}",
            "{name: contextrast, layer_weights: {3: 0.2, 4: 1.0}}",
        ),
        ("{name: contextrast, alpha: 0.3, ties: raster}", "{ties: raster, alpha: 0.3, name: contextrast}"),
        ("{name: still-to-come, a: 1, b: {c: 1, d: 2}}", "{b: {d: 2, c: 1}, name: still-to-come, a: 1}"),
    ],
)
def test_order_of_what_is_no_default(write, one, two):
    ids = {first_id(write, "{name: contextrast}", each) for each in (one, two)}
    assert len(ids) == 1
    assert ids.isdisjoint({first_id(write)})


def test_what_decides_the_weights_changes_an_id(write):
    ids = [first_id(write), *(first_id(write, old, new) for _, old, new in OTHER)]
    assert len(set(ids)) == len(ids)


def test_stages_share_the_hash_of_their_beginning(shipped):
    names = ("cityscapes-596-contrast", "cityscapes-2975-contrast")
    few, many = (training(shipped, "label-efficient-table1", name, "cityscapes") for name in names)
    longer = training(
        shipped, "label-efficient-table1", names[0], "cityscapes",
        Request(settings=(("stages.finetune.schedule.steps", 7),)),
    )  # fmt: skip
    assert few.id() != longer.id()
    assert few.prefix_id(1) == longer.prefix_id(1) != many.prefix_id(1)
    assert few.prefix_id(2) == few.id()


def test_different_rows_of_a_table_are_different_trainings(shipped):
    """No two rows with trained figures on a data set mean one training: an override that is lost would show here."""
    for name in shipped.tables:
        rows = [row for row in resolve_all(shipped, name) if row.ran.training is not None]
        for one, two in itertools.combinations(rows, 2):
            if one.dataset == two.dataset:
                assert one.ran.training.id() != two.ran.training.id(), f"{one.name} {two.name}"
