"""From a row to a protocol: which layer wins, where each value comes from, and what is refused with which line."""

from dataclasses import FrozenInstanceError, replace

import pytest

from segbench.core.errors import InvalidFault, UsageFault
from segbench.recipe.catalog import add_file
from segbench.recipe.resolve import Request, resolve, typed_values
from segbench.recipe.tree import flatten, pick, plain
from tests.recipe.made import HEAD, ROWS, line
from tests.unread import unread_set

LAYERS = f"""{HEAD}
augmentation: {{flip: 0.5, scale: [0.5, 2.0]}}
sources: {{augmentation: far away, augmentation.scale: {{source: nearby, confidence: low}}}}
rows:
  base:
    augmentation: {{flip: 0.1}}
    method: {{alpha: 0.3, layer_weights: {{4: 1.0, 3: 0.5}}}}
    sources: {{method.alpha: page 7}}
    datasets: {{camvid: {{data: {{scale: 0.5}}}}}}
    figures: {{camvid.val: {{miou: "70.0"}}, camvid.train: {{sec_per_iter: "1.0"}}}}
  more:
    base: made-one/base
    method: {{layer_weights: {{4: 1.0}}}}
    figures: {{camvid.unstated: {{miou: "70.0"}}}}
  other:
    base: made-one/base
    method: {{name: mscs}}
    figures: {{camvid.test: {{miou: "70.0"}}}}
readings:
  rate:
    question: Which?
    options: {{low: {{says: low}}, high: {{says: high, set: {{schedule.optimizer.lr: 0.5}}}}}}
    default: low
    source: a guess
    confidence: medium
"""


@pytest.fixture
def layers(write):
    budgets = "schema: 1\nbudgets:\n  tiny: {says: tiny, max_steps: 10}\n"
    return write(one=LAYERS, budgets=budgets)


def leaf(resolved, path):
    return pick(resolved.tree, path)


def test_table_row_and_data_set_in_that_order(layers):
    found = resolve(layers, "made-one", "base", "camvid")
    assert plain(leaf(found, "augmentation.flip")) == 0.1
    assert plain(leaf(found, "augmentation.scale")) == [0.5, 2.0]
    assert plain(leaf(found, "data.scale")) == 0.5
    assert plain(leaf(found, "method")) == {"name": "contextrast", "alpha": 0.3, "layer_weights": {4: 1.0, 3: 0.5}}


def test_origins(layers):
    request = Request("tiny", readings=(("rate", "high"),), settings=(("schedule.batch_total", 2),))
    found = resolve(layers, "made-one", "base", "camvid", request)

    def origin(path):
        at = leaf(found, path).origin
        return at.layer, at.where, at.source, at.confidence

    where = f"one.yaml:{line(LAYERS, 'augmentation: {flip: 0.5')}"
    assert origin("augmentation.scale") == ("table", where, "nearby", "low")
    assert origin("augmentation.flip") == ("row base", f"one.yaml:{line(LAYERS, 'flip: 0.1')}", "far away", None)
    assert origin("method.alpha") == ("row base", f"one.yaml:{line(LAYERS, 'alpha: 0.3')}", "page 7", None)
    assert origin("method.name") == ("table", f"one.yaml:{line(LAYERS, 'method: {name: contextrast')}", "nowhere", None)
    assert origin("data.scale")[:2] == ("row base", f"one.yaml:{line(LAYERS, 'datasets:')}")
    assert origin("schedule.optimizer.lr") == (
        "reading rate=high", f"one.yaml:{line(LAYERS, 'options:')}", "a guess", "medium"
    )  # fmt: skip
    assert origin("schedule.steps") == ("budget tiny", "budgets.yaml:3", "", None)
    assert origin("schedule.batch_total")[:2] == ("command line", "--set schedule.batch_total")
    assert origin("evaluation.split")[:2] == ("figures", f"one.yaml:{line(LAYERS, 'camvid.val')}")
    assert str(leaf(found, "augmentation.scale").origin) == "table · nearby [low confidence]"


def test_a_base_lies_below_and_counts_once(layers):
    found = resolve(layers, "made-one", "more", "camvid")
    # The table's own flip of 0.5 lies below the base row's 0.1, also seen from a row that builds on it.
    assert plain(leaf(found, "augmentation.flip")) == 0.1
    assert leaf(found, "augmentation.flip").origin.layer == "base made-one/base"
    assert leaf(found, "method.layer_weights").origin.layer == "row more"
    assert plain(leaf(found, "method.layer_weights")) == {4: 1.0}
    assert found.published.training.stages[0].method.options["alpha"] == 0.3


def test_another_name_starts_afresh(layers):
    assert plain(leaf(resolve(layers, "made-one", "other", "camvid"), "method")) == {"name": "mscs"}


def test_the_shipped_base_of_another_table(shipped):
    found = resolve(shipped, "contextrast-table6", "layers-4-3", "camvid")
    assert leaf(found, "schedule.steps").origin.layer == "base contextrast-table1/camvid-hrnet"
    assert leaf(found, "schedule.steps").origin.where.startswith("table1.yaml:")
    assert leaf(found, "method.alpha").origin.layer == "table"
    assert leaf(found, "method.anchor_layers").origin.layer == "row layers-4-3"
    cityscapes = resolve(shipped, "contextrast-table6", "layers-4-3", "cityscapes")
    assert plain(leaf(cityscapes, "schedule.steps")) == 40_000
    assert found.weakest_confidence == "low"


def test_the_split_that_is_printed_is_scored(layers, shipped):
    assert resolve(layers, "made-one", "base", "camvid").ran.evaluation.data.splits == ("val",)
    assert resolve(layers, "made-one", "other", "camvid").ran.evaluation.data.splits == ("test",)
    assert "evaluation" not in resolve(layers, "made-one", "more", "camvid").tree
    assert resolve(shipped, "contextrast-table6", "layers-4", "cityscapes").ran.evaluation.data.splits == ("val",)
    camvid = resolve(shipped, "contextrast-table6", "layers-4", "camvid")
    assert camvid.ran.evaluation.data.splits == ("test",)
    assert leaf(camvid, "evaluation.split").origin.layer == "reading camvid-split=test"
    server = resolve(shipped, "label-efficient-table1", "cityscapes-596-scratch", "cityscapes")
    assert server.ran.evaluation.data.splits == ("test",)
    assert server.scored.data.splits == ("val",), "only the server has the labels of test"


def test_evaluation_takes_the_data_of_the_training_unless_it_says_otherwise(write):
    text = HEAD.replace("{name: camvid}", "{name: camvid, scale: 0.5, splits: [train, val]}")
    catalog = write(one=text + "evaluation: {split: test}\n" + ROWS)
    assert resolve(catalog, "made-one", "base", "camvid").ran.evaluation.data.model_dump(exclude_defaults=True) == {
        "name": "camvid", "scale": 0.5, "splits": ("test",)
    }  # fmt: skip
    catalog = write(one=text + "evaluation: {split: val, scale: 1.0, scales: [1.0, 2.0]}\n" + ROWS)
    evaluation = resolve(catalog, "made-one", "base", "camvid").ran.evaluation
    assert (evaluation.data.scale, evaluation.data.splits, evaluation.scales) == (1.0, ("val",), (1.0, 2.0))


def test_whoever_asks_again_gets_the_same_object_until_a_table_is_added(write, tmp_path):
    catalog = write(one=HEAD + ROWS)
    request = Request(settings=(("method.layer_weights", {4: 1.0}),))
    first = resolve(catalog, "made-one", "base", "camvid", request)
    assert resolve(catalog, "made-one", "base", "camvid", replace(request)) is first
    assert resolve(catalog, "made-one", "base", "camvid") is not first
    assert resolve(catalog, "made-one", "base", "camvid", replace(request, seed=1)) is not first
    with pytest.raises(TypeError):
        first.tree["data"]["name"] = "cityscapes"
    with pytest.raises(FrozenInstanceError):
        first.row = "more"
    path = tmp_path / "mine.yaml"
    path.write_text(HEAD.replace("made-one", "mine") + ROWS)
    add_file(catalog, path)
    again = resolve(catalog, "made-one", "base", "camvid", request)
    assert again is not first
    assert again.ran == first.ran


def test_a_data_set_registered_later_counts(write):
    catalog = write(one=HEAD + ROWS)
    request = Request(settings=(("data.name", "unread"), ("data.classes", "void")))
    assert resolve(catalog, "made-one", "base", "camvid", request).unsupported == ["data set unread"]
    with unread_set(), pytest.raises(InvalidFault, match="no class table 'void' for unread"):
        resolve(catalog, "made-one", "base", "camvid", request)


def test_typed_defaults(shipped):
    found = resolve(shipped, "contextrast-table6", "layers-4", "camvid")
    values = typed_values(found.ran)
    said = flatten(plain(found.tree))
    assert {"model.backbone.modules", "schedule.optimizer.betas", "data.scale"} <= values.keys() - said.keys()
    assert values["model.backbone.modules"] == (1, 4, 3)
    assert values["evaluation.split"] == "test"
    assert values["augmentation.crop_draws"] == 10
    assert all(path.endswith((".name", ".network", "crop", "batch_total")) for path in said.keys() - values.keys())
    # A training with several streams shows what holds for the labelled one.
    streams = typed_values(resolve(shipped, "semiseg-table1", "imagenet-deeplabv2-1_30", "cityscapes").ran)
    assert (streams["augmentation.blur"], streams["data.unlabelled_rest"]) == (None, False)


def test_a_part_may_be_named_alone(write):
    text = HEAD.replace("{name: hrnetv2}", "hrnetv2").replace("{name: concat}", "concat") + ROWS
    (stage,) = resolve(write(one=text), "made-one", "base", "camvid").ran.training.stages
    assert (stage.model.backbone.name, stage.model.decoder.name) == ("hrnetv2", "concat")


def test_unknown_row_or_data_set(shipped):
    with pytest.raises(UsageFault, match="it has cityscapes, camvid"):
        resolve(shipped, "contextrast-table6", "layers-4", "ade20k")
    with pytest.raises(UsageFault, match="No row"):
        resolve(shipped, "contextrast-table6", "layers-5", "camvid")


def test_a_source_of_the_row_wins_over_a_more_exact_one_of_the_table(write):
    """A row's own value does not get the source of the table's value of that name."""
    own = LAYERS.replace("{method.alpha: page 7}", "{augmentation: the row's}").replace(
        "augmentation: {flip: 0.1}", "augmentation: {flip: 0.1, scale: [0.8, 1.2]}"
    )
    found = resolve(write(one=own), "made-one", "base", "camvid")
    assert leaf(found, "augmentation.scale").origin.source == "the row's"
    assert leaf(found, "augmentation.scale").origin.confidence is None
    assert leaf(found, "augmentation.flip").origin.source == "the row's"
    more = resolve(write(one=LAYERS), "made-one", "base", "camvid")
    assert leaf(more, "augmentation.scale").origin.source == "nearby"


def test_a_source_of_a_row_is_said_of_what_it_inherits_where_it_sets_nothing_of_that(write):
    text = LAYERS.replace(
        "sources: {method.alpha: page 7}",
        "sources: {schedule.optimizer: {source: a guess, confidence: low}, schedule.optimizer.name: page 8}",
    ).replace("    augmentation: {flip: 0.1}", "    augmentation: {flip: 0.1}\n    schedule: {steps: 50}")
    catalog = write(one=text)
    for row, layer in (("base", "table"), ("more", "base made-one/base")):  # also of a row that builds on it
        rate, name = (leaf(resolve(catalog, "made-one", row, "camvid"), f"schedule.optimizer.{each}").origin
                      for each in ("lr", "name"))  # fmt: skip
        assert (rate.layer, rate.source, rate.confidence) == (layer, "a guess", "low")
        assert rate.where == f"one.yaml:{line(text, 'schedule: {steps: 100')}"
        assert (name.source, name.confidence) == ("page 8", None)
    # What is said of a section that the row sets a part of is said of that part alone.
    own = LAYERS.replace("sources: {method.alpha: page 7}", "sources: {augmentation: page 9}")
    found = resolve(write(one=own), "made-one", "base", "camvid")
    assert leaf(found, "augmentation.flip").origin.source == "page 9"
    assert leaf(found, "augmentation.scale").origin.source == "nearby"


def test_a_source_of_a_row_is_said_of_its_values_for_one_data_set_too(write):
    text = LAYERS.replace("sources: {method.alpha: page 7}", "sources: {data.scale: page 7}")
    assert leaf(resolve(write(one=text), "made-one", "base", "camvid"), "data.scale").origin.source == "page 7"


@pytest.mark.parametrize("row", ["deeplabv3-mobilenetv1", "deeplabv3-mobilenetv3-contrast"])
def test_the_optimiser_of_the_mobilenet_rows_is_inferred(shipped, row):
    found = resolve(shipped, "contrastiveseg-table1", row, "cityscapes")
    for name in ("lr", "momentum", "weight_decay"):
        origin = leaf(found, f"schedule.optimizer.{name}").origin
        assert (origin.source, origin.confidence) == ("inferred: as the other rows", "low")
    other = resolve(shipped, "contrastiveseg-table1", "deeplabv3-r101", "cityscapes")
    assert leaf(other, "schedule.optimizer.lr").origin.confidence == "medium"
