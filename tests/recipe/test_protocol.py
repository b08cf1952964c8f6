"""Settings of the command line, and the faults of a resolved protocol: all at once, each where it is written."""

import pytest

from segbench.core.errors import InvalidFault, UsageFault
from segbench.core.strict_yaml import parse_scalar
from segbench.recipe.resolve import Request, resolve
from tests.recipe.made import HEAD, ROWS, line


def test_settings(shipped):
    settings = tuple(
        (path, parse_scalar(text))
        for path, text in (
            ("method.alpha", "0.7"), ("method.layer_weights", "{4: 1.0, 3: 0.1}"), ("augmentation.jitter", "null"),
            ("schedule.optimizer", "{name: adamw, lr: 1e-3}"), ("evaluation.scales", "[1, 2]"),
            ("method.loss_layers", "$method.anchor_layers"),
        )
    )  # fmt: skip
    found = resolve(shipped, "contextrast-table6", "layers-4-3", "camvid", Request(settings=settings))
    (stage,) = found.ran.training.stages
    assert stage.method.options["alpha"] == 0.7
    assert stage.method.options["loss_layers"] == [4, 3]
    assert stage.schedule.optimizer.name == "adamw"
    assert stage.streams["labelled"].augmentation.jitter is None
    assert found.ran.evaluation.scales == (1.0, 2.0)
    assert found.published == resolve(shipped, "contextrast-table6", "layers-4-3", "camvid").published


def test_a_stage_names_its_primary_stream(write):
    streams = "streams: {labelled: {}, target: {batch_total: 2}}"
    rows = 'rows:\n  only:\n    figures: {camvid.test: {miou: "70.0"}}\n'
    catalog = write(one=HEAD + f"stages: [{{name: train, primary: target, {streams}}}]\n" + rows)
    (stage,) = resolve(catalog, "made-one", "only", "camvid").ran.training.stages
    assert stage.primary_stream is stage.streams["target"]
    catalog = write(one=HEAD + f"stages: [{{name: train, primary: targte, {streams}}}]\n" + rows)
    with pytest.raises(InvalidFault, match="primary is 'targte'; the streams are labelled, target"):
        resolve(catalog, "made-one", "only", "camvid")


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("steps", 5, "a path is SECTION.NAME"),
        ("method", "supervised", "a path is SECTION.NAME"),
        ("mehtod.alpha", 0.1, "a path is SECTION.NAME"),
        ("method.layer_weights.4", 1.0, "method.layer_weights is one setting and can be set as a whole only"),
        ("schedule.steps.total", 1, "schedule.steps is one setting"),
        ("stages.train.schedule.steps", 5, "there is no stage 'train'; known: none"),
        ("method.loss_layers", "$method.anchors", "there is nothing at 'method.anchors'"),
    ],
)
def test_settings_that_would_be_lost(shipped, path, value, sentence):
    with pytest.raises(UsageFault) as caught:
        resolve(shipped, "contextrast-table6", "layers-4", "camvid", Request(settings=((path, value),)))
    assert caught.value.faults[0].startswith(f"--set {path}: {sentence}")


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("stages.trian.schedule.steps", "there is no stage 'trian'; known: train"),
        ("stages.train.streams.unlabeled.batch_total", "there is no stream 'unlabeled'; known: labelled, unlabelled"),
    ],
)
def test_settings_of_stages_and_streams_that_are_not_there(shipped, path, sentence):
    with pytest.raises(UsageFault, match=sentence):
        resolve(shipped, "semiseg-table1", "imagenet-deeplabv2-1_30", "cityscapes", Request(settings=((path, 5),)))


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("schedule.steps", -5, "schedule.steps: input should be greater than 0, got -5"),
        ("schedule.stpes", 5, "schedule.stpes: unknown key 'stpes'"),
        ("method.alhpa", 0.1, "method.alhpa: unknown key 'alhpa'"),
        ("method.temperature", "warm", "method.temperature: input should be a valid number"),
        ("model.backbone.widht", 8, "model.backbone.widht: unknown key 'widht'"),
        ("model.align_cornesr", True, "model.align_cornesr: unknown key 'align_cornesr'"),
        ("model.backbone", "hrnettv2", "model.backbone.name: no backbone 'hrnettv2'. Close: hrnetv2"),
        ("method.name", "contextrats", "method.name: no method 'contextrats'. Close: contextrast"),
        ("data.name", "cityscape", "data.name: no dataset 'cityscape'. Close: cityscapes"),
        ("data.scale", 9, "data.scale: input should be less than or equal to 4, got 9"),
        ("evaluation.splits", ["val"], "evaluation.splits: unknown key 'splits'"),
        ("evaluation.split", 3, "evaluation.split: input should be a valid string, got 3"),
        ("evaluation.scale", 9, "evaluation.scale: input should be less than or equal to 4, got 9"),
        ("evaluation.data", {"scale": 2.0}, "evaluation.data: unknown key 'data'"),
        ("schedule.crop", [10], "schedule.crop.1: missing key '1'"),
        ("schedule.optimizer", 5, "schedule.optimizer: a map of keys is wanted, got 5"),
        ("weights.backbone", 5, "weights.backbone: input should be a valid string"),
        ("data.classes", "camvid-sunny", "data.classes: no class table 'camvid-sunny' for camvid; known: camvid"),
        ("data.classes", "cityscapes", "data.classes: no class table 'cityscapes' for camvid; known: camvid"),
    ],
)  # fmt: skip
def test_bad_settings(shipped, path, value, sentence):
    with pytest.raises(InvalidFault) as caught:
        resolve(shipped, "contextrast-table6", "layers-4", "camvid", Request(settings=((path, value),)))
    (fault,) = caught.value.faults
    assert fault.startswith(f"--set {path}: contextrast-table6/layers-4: {sentence}")


STAGED = """
stages:
  - name: first
    schedule: {steps: 0}
    data: {images: 0}
    streams:
      labelled: {}
      second: {batch_total: 0}
  - name: last
    from: frist
    streams: {labelled: {data: {labels_from: thrid}}}
rows:
  only:
    figures: {camvid.test: {miou: "70.0"}}
"""


def test_all_faults_of_a_protocol_at_once_where_they_are_written(write):
    text = HEAD.replace("batch_total: 4", "batch_total: 4.5").replace("contextrast}", "contextrast, beta: 1}")
    text = text.replace("{name: camvid}", "{name: camvid, scale: 9, sclae: 1}") + "evaluation: {flip: maybe}" + STAGED
    catalog = write(one=text)
    with pytest.raises(InvalidFault) as caught:
        resolve(catalog, "made-one", "only", "camvid")
    found = {tuple(fault.split(": ")[:3]) for fault in caught.value.faults}
    assert len(found) == len(caught.value.faults)
    assert {(where, location) for where, _, location in found} == {
        (f"one.yaml:{line(text, 'sclae')}", "data.scale"),
        (f"one.yaml:{line(text, 'sclae')}", "data.sclae"),
        (f"one.yaml:{line(text, 'beta')}", "method.beta"),
        (f"one.yaml:{line(text, '4.5')}", "schedule.batch_total"),
        (f"one.yaml:{line(text, 'steps: 0')}", "stages.first.schedule.steps"),
        (f"one.yaml:{line(text, 'images: 0')}", "stages.first.data.images"),
        (f"one.yaml:{line(text, 'batch_total: 0')}", "stages.first.streams.second.batch_total"),
        (f"one.yaml:{line(text, 'maybe')}", "evaluation.flip"),
    }


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("frist", "fist", "stages.last.from: no earlier stage 'fist'. Close: first"),
        ("thrid", "last", "stages.last.streams.labelled.data.labels_from: no earlier stage 'last'"),
        ("thrid", "first, labels_threshold: 2", "labels_threshold: input should be"),
        ("name: first", "name: first\n    emits: pseudo_labels", "write labels_from: first into the data that takes"),
        ("{name: contextrast}", "{name: fusion-contrast, teacher_stage: techer}", "no earlier stage 'techer'"),
    ],
)
def test_faults_of_stages(write, old, new, sentence):
    text = (HEAD + STAGED).replace("batch_total: 0", "batch_total: 2").replace(old, new)
    text = text.replace("steps: 0", "steps: 5").replace("images: 0", "images: 1")
    with pytest.raises(InvalidFault, match=sentence):
        resolve(write(one=text), "made-one", "only", "camvid")


def test_a_key_of_the_first_recipes_still_reads(write):
    head, stages = HEAD, STAGED.replace("{data: {labels_from: thrid}}", "{}").replace("frist", "first")
    stages = stages.replace("batch_total: 0", "batch_total: 2").replace("steps: 0", "steps: 5")
    stages = stages.replace("images: 0", "scale: 1")
    now = resolve(write(one=head + stages), "made-one", "only", "camvid").ran.training
    before = head + stages.replace("name: last", "name: last\n    emits: weights")
    assert resolve(write(one=before), "made-one", "only", "camvid").ran.training == now


@pytest.mark.parametrize(
    "path", ["stages.train.method", "stages.train.streams", "stages.train.streams.labelled", "stages.train.schedule"]
)
def test_a_section_cannot_become_a_value(shipped, path):
    request = Request(settings=((path, 5),))
    with pytest.raises(InvalidFault, match=f"{path}: a map of keys is wanted, got 5"):
        resolve(shipped, "semiseg-table1", "imagenet-deeplabv2-1_30", "cityscapes", request)


def test_unknown_keys_of_a_stage_are_faults_also_from_the_command_line(shipped):
    for path in ("stages.train.mehtod", "stages.train.evaluation", "stages.train.streams.unlabelled.batch"):
        request = Request(settings=((path, {"alpha": 1}),))
        with pytest.raises(InvalidFault, match=f"{path}: unknown key"):
            resolve(shipped, "semiseg-table1", "imagenet-deeplabv2-1_30", "cityscapes", request)


def test_missing_sections_and_other_faults_together(write):
    text = HEAD.replace("method: {name: contextrast}\n", "").replace("lr: 1e-1", "rl: 1e-1") + ROWS
    with pytest.raises(InvalidFault) as caught:
        resolve(write(one=text), "made-one", "base", "camvid")
    assert sorted(fault.split(": ", 2)[2] for fault in caught.value.faults) == [
        "method: missing section",
        "schedule.optimizer.lr: missing key 'lr'",
        "schedule.optimizer.rl: unknown key 'rl'",
    ]
