"""Deviations: each field that differs, once; nothing else; material as the schema says; in words a reader can use."""

from typing import Any

import pytest

from segbench.core import registry
from segbench.core.spec import EvaluationSpec, ModelSpec, ScheduleSpec, StageSpec, StreamSpec, WeightsSpec
from segbench.core.strict_yaml import parse_scalar
from segbench.recipe.deviations import between
from segbench.recipe.phrases import phrase
from segbench.recipe.resolve import Request, Resolved, resolve, resolve_all

ABSENT = object()
KINDS = {"method": "method", "model.backbone": "backbone", "model.decoder": "decoder"}

RELEASED_ALONE = ("max_anchors", "max_views", "min_pixels")
PAPER_ALONE = ("anchors_per_class", "positives_per_anchor", "negatives_per_anchor", "semi_hard_percent")


def leaves(value: Any, path: str = "") -> dict[str, Any]:
    """Every leaf of plain data, empty maps included; written without the code under test."""
    if isinstance(value, dict) and value and all(isinstance(key, str) for key in value):
        found = {}
        for key, inner in value.items():
            found |= leaves(inner, f"{path}.{key}" if path else key)
        return found
    return {path: value}


def dump(spec: StageSpec) -> dict[str, Any]:
    """A stage without its streams as leaves, options of registered parts with their defaults."""
    data = spec.model_dump(exclude={"streams", "name"})
    choices = {"method": spec.method, "model.backbone": spec.model.backbone, "model.decoder": spec.model.decoder}
    for path, choice in choices.items():
        options = choice.options
        if registry.is_registered(KINDS[path], choice.name):
            options = registry.options_of(KINDS[path], choice.name).model_validate(choice.options).model_dump()
            if choice.name == "pixel-contrast":  # what one of its forms alone reads
                other = RELEASED_ALONE if options["form"] == "paper" else PAPER_ALONE
                options = {key: value for key, value in options.items() if key not in other}
        place = data["model"] if path.startswith("model.") else data
        place[path.split(".")[-1]] = {"name": choice.name, **options}
    return leaves(data)


def differences(published: dict[str, Any], ran: dict[str, Any]) -> set[str]:
    """Paths that differ; a value that is a map on one side alone, or another part, counts once."""
    names = {path for path in {*published, *ran} if published.get(path, ABSENT) != ran.get(path, ABSENT)}
    for part in KINDS:
        if f"{part}.name" in names:
            names = {name for name in names if not name.startswith(f"{part}.")} | {f"{part}.name"}
    whole = [name for name in names if any(other.startswith(f"{name}.") for other in names)]
    return {name for name in names if not any(name.startswith(f"{other}.") for other in whole)}


def expected(resolved: Resolved) -> list[str]:
    found: list[str] = []
    published, ran = resolved.published.training, resolved.ran.training
    trained: list[tuple[str, Any, Any]] = []
    for theirs, ours in zip(published.stages, ran.stages, strict=True):
        stage = f"{theirs.name}." if len(published.stages) > 1 else ""
        for name, stream in theirs.streams.items():
            place = f"{stage}{name}." if len(theirs.streams) > 1 else stage
            was, now = leaves(stream.model_dump()), leaves(ours.streams[name].model_dump())
            for path in differences(was, now):
                found.append(place + path)
                trained.append((path, was.get(path), now.get(path)))
        # Without a teacher its options mean nothing.
        alone = theirs.method.name == "fusion-contrast" and "teacher_stage" not in theirs.method.options
        # A contrast without a memory has no size of one.
        sizeless = theirs.method.options.get("keys", "batch") == "batch"
        nothing = (*(("method.teacher",) if alone else ()), *(MEMORY if sizeless else ()))
        own = differences(dump(theirs), dump(ours))
        found += [stage + path for path in own if not path.startswith(nothing)]
    was, now = (leaves(each.evaluation.model_dump()) for each in (resolved.published, resolved.ran))
    repeated = [path for path in differences(was, now) if (path, was.get(path), now.get(path)) in trained]
    return found + [f"evaluation.{path}" for path in differences(was, now) if path not in repeated]


MEMORY = ("method.regions_per_", "method.pixels_per_")


def settings(**given: str) -> tuple[tuple[str, Any], ...]:
    return tuple((path.replace("__", "."), parse_scalar(text)) for path, text in given.items())


REQUESTS = [
    Request(),
    Request("small"),
    Request("smoke"),
    Request(seed=3),
    Request(readings=(("evaluation-scales", "single"),)),
    Request(settings=settings(method__alpha="0.7", method__layer_weights="{4: 1.0}", method__loss_layers="[4]")),
    Request("small", settings=settings(schedule__steps="7", model__align_corners="false")),
    Request(settings=settings(augmentation__jitter="null", data__scale="0.5", data__name="cityscapes")),
    Request(settings=settings(evaluation__scale="0.5", evaluation__split="train", data__splits="[train, val]")),
    Request("smoke", settings=settings(evaluation__images="3", schedule__validate_every="null")),
]  # fmt: skip


@pytest.mark.parametrize("request_", REQUESTS, ids=range(len(REQUESTS)))
def test_each_field_that_differs_is_named_once(shipped, request_):
    found = resolve(shipped, "contextrast-table6", "layers-4-3", "camvid", request_)
    paths = [deviation.path for deviation in between(found.published, found.ran)]
    assert sorted(paths) == sorted(expected(found))
    assert len(paths) == len(set(paths))
    assert bool(paths) == (request_.budget != "full" or bool(request_.settings))


@pytest.mark.parametrize("budget", ["full", "small", "smoke"])
def test_of_every_row_at_every_budget(shipped, budget):
    for found in (each for table in shipped.tables for each in resolve_all(shipped, table, Request(budget))):
        deviations = between(found.published, found.ran)
        assert sorted(each.path for each in deviations) == sorted(expected(found)), found.name
        assert bool(deviations) == (budget != "full")
        assert between(found.ran, found.ran) == []


def test_another_part_is_one_deviation(shipped):
    request = Request(settings=(("method.name", "contextrast"), ("method.alpha", 0.3)))
    found = resolve(shipped, "contextrast-table2", "upernet", "camvid", request)
    (deviation,) = between(found.published, found.ran)
    assert (deviation.path, deviation.published, deviation.ran) == ("method.name", "supervised", "contextrast")
    assert str(deviation) == "method contextrast instead of supervised"


def flags(spec: type, prefix: str) -> dict[str, bool]:
    """Material or not by path, from the schema alone."""
    found = {}
    for name, info in spec.model_fields.items():
        if hasattr(info.annotation, "model_fields") and name not in ("backbone", "decoder", "method"):
            found |= flags(info.annotation, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = (info.json_schema_extra or {}).get("material", True)
    return found


def test_material_comes_from_the_schema(shipped):
    known = {
        **flags(StreamSpec, ""), **flags(ScheduleSpec, "schedule."), **flags(WeightsSpec, "weights."),
        **flags(EvaluationSpec, "evaluation."), **flags(ModelSpec, "model."),
    }  # fmt: skip
    assert [path for path, material in known.items() if not material] == ["schedule.validate_every"]
    found = resolve(shipped, "contextrast-table6", "layers-4", "camvid", Request("smoke"))
    for deviation in between(found.published, found.ran):
        if deviation.path in known:
            assert deviation.material == known[deviation.path]
        else:
            assert deviation.material
            assert deviation.path.startswith(("model.", "method."))


def test_words_of_a_small_and_a_smoke_run(shipped):
    found = resolve(shipped, "contextrast-table6", "layers-4", "camvid", Request("small"))
    assert {str(each) for each in between(found.published, found.ran)} == {
        "crop 180x240 of 360x480", "data scale 0.5 of 1", "batch 8 of 16", "steps 1,100 of 6,000",
        "validate every 275 of 1,000", "optimizer adamw instead of sgd", "learning rate 0.003 instead of 0.02",
        "momentum 0 instead of 0.9", "weight decay 0.01 instead of 0.0005",
        "augmentation scale 0.75/1.5 instead of 0.5/2", "random instead of ImageNet weights",
        "backbone width 16 of 48", "backbone modules 1/1/1 of 1/4/3", "backbone blocks per branch 2 of 4",
        "backbone stem channels 32 of 64", "backbone stage1 blocks 1 of 4", "backbone stage1 width 16 of 64",
        "decoder head conv1x1 instead of conv3x3", "method embedding dim 64 of 256",
        "evaluation scales 1 instead of 0.75/1/1.25/1.5/1.75/2", "evaluation flip off instead of on",
    }  # fmt: skip
    found = resolve(shipped, "contextrast-table6", "layers-4", "camvid", Request("smoke"))
    words = {str(each) for each in between(found.published, found.ran)}
    assert {"generated scenes instead of camvid images", "24 images instead of all", "crop 96x128 of 360x480"} <= words


@pytest.mark.parametrize(
    ("readings", "contrast"),
    [
        ((), {"anchors per class 10 of 50", "positives per anchor 64 of 1,024", "negatives per anchor 128 of 2,048",
              "regions per class 200 of 2,975", "pixels per class 1,000 of 29,750"}),
        ((("contrast-form", "released"),), {"max views 20 of 100", "min pixels 21 of 101"}),
        # Its max_views of 1 and min_pixels of 2 lie below the budget's.
        ((("contrast-form", "released-memory"),),
         {"regions per class 200 of 5,000", "pixels per class 1,000 of 5,000"}),
    ],
)  # fmt: skip
def test_what_a_form_does_not_read_is_no_deviation(shipped, readings, contrast):
    request = Request("small", readings=readings)
    found = resolve(shipped, "contrastiveseg-table1", "hrnetv2-w48-contrast", "cityscapes", request)
    words = {str(each).removeprefix("method ") for each in between(found.published, found.ran)
             if each.path.startswith("method.")}  # fmt: skip
    assert words == {*contrast, "embedding dim 64 of 256", "starts after steps 69 of 5,000"}
    # Once the form is another, what it reads counts.
    other = resolve(shipped, "contrastiveseg-table1", "hrnetv2-w48-contrast", "cityscapes",
                    Request(settings=settings(method__form="released", method__max_views="7")))  # fmt: skip
    assert {each.path for each in between(other.published, other.ran)} == {"method.form", "method.max_views"}


def test_words_of_several_streams_and_stages(shipped):
    found = resolve(shipped, "semiseg-table3", "gta5-deeplabv3plus-1_30", "cityscapes", Request("smoke"))
    by_path = {each.path: str(each) for each in between(found.published, found.ran)}
    # What is the same everywhere is said without the place; lists of words then hold it once.
    assert {by_path[f"{name}.crop"] for name in ("labelled", "source", "unlabelled")} == {"crop 110x110 of 512x512"}
    assert by_path["source.data.source"] == "source: generated scenes instead of gta5 images"
    assert by_path["labelled.batch_total"] == "labelled: batch 4 of 5"
    assert by_path["schedule.steps"] == "steps 150 of 150,000"
    found = resolve(shipped, "label-efficient-table1", "cityscapes-596-contrast", "cityscapes", Request("small"))
    by_path = {each.path: str(each) for each in between(found.published, found.ran)}
    assert by_path["pretrain.schedule.steps"] == "pretrain: steps 1,100 of 300,000"
    assert by_path["finetune.schedule.steps"] == "finetune: steps 1,100 of 50,000"
    assert by_path["finetune.batch_total"] == by_path["pretrain.batch_total"] == "batch 8 of 16"


@pytest.mark.parametrize(
    ("field", "published", "ran", "words"),
    [
        ("schedule.steps", 100, 200, "steps 200 instead of 100"),
        ("schedule.optimizer.name", "sgd", "adamw", "optimizer adamw instead of sgd"),
        ("schedule.optimizer.betas", [0.9, 0.999], [0.9, 0.99], "betas 0.9/0.99 instead of 0.9/0.999"),
        ("schedule.policy.name", "poly", "cosine", "policy cosine instead of poly"),
        ("schedule.policy.warmup_steps", 1500, 15, "warm-up steps 15 of 1,500"),
        ("schedule.validate_every", None, 30, "validate every 30 instead of none"),
        ("model.backbone.name", "resnet", "hrnetv2", "backbone hrnetv2 instead of resnet"),
        ("model.decoder.rates", [6, 12, 18, 24], [6, 12], "decoder rates 6/12 instead of 6/12/18/24"),
        ("model.align_corners", True, False, "align corners off instead of on"),
        ("model.input.mean", [0.5, 0.5, 0.5], [0.0, 0.0, 0.0], "input mean 0/0/0 instead of 0.5/0.5/0.5"),
        ("method.layer_weights", {4: 1.0, 3: 0.5}, {4: 1.0}, "method layer weights 4 1 instead of 4 1, 3 0.5"),
        ("method.detach", False, True, "method detach on instead of off"),
        ("weights.backbone", "imagenet", "coco", "COCO instead of ImageNet weights"),
        ("weights.file", "a.pth", None, "weights file none instead of a.pth"),
        ("data.name", "camvid", "cityscapes", "data set cityscapes instead of camvid"),
        ("data.splits", ["train"], ["train", "val"], "trained on train/val instead of train"),
        ("data.source", "folder", "generated", "generated scenes instead of camvid images"),
        ("data.source", "generated", "folder", "camvid images instead of generated scenes"),
        ("data.images", None, 24, "24 images instead of all"),
        ("data.size", [512, 1024], [256, 512], "image size 256x512 of 512x1024"),
        ("data.size", None, [256, 512], "image size 256x512 instead of none"),
        ("data.scale", 1.0, 2.0, "data scale 2 instead of 1"),
        ("augmentation.flip", 0.5, 0.0, "augmentation flip 0 instead of 0.5"),
        ("augmentation.scale", [0.5, 2.0], [1.0, 1.0], "augmentation scale 1/1 instead of 0.5/2"),
        ("evaluation.data.splits", ["test"], ["val"], "scored on val instead of test"),
        ("evaluation.data.scale", 1.0, 0.5, "evaluation data scale 0.5 of 1"),
        ("evaluation.data.images", 24, 3, "scored on 3 images instead of 24"),
        ("evaluation.window", [512, 1024], [128, 256], "evaluation window 128x256 of 512x1024"),
        ("evaluation.fuse", "logits", "probabilities", "predictions fused as probabilities instead of logits"),
        ("evaluation.overlap", "probabilities", "logits", "windows joined as logits instead of probabilities"),
        ("evaluation.placing", "even", "border", "placing of windows border instead of even"),
        ("evaluation.mirrored", "logits", "probabilities",
         "mirrored windows joined as probabilities instead of logits"),
        ("evaluation.checkpoint", "last", "best", "evaluation checkpoint best instead of last"),
        ("crop", [64, 64], [64, 32], "crop 64x32 of 64x64"),
        ("crop", [64, 64], [128, 32], "crop 128x32 instead of 64x64"),
    ],
)  # fmt: skip
def test_words(field, published, ran, words):
    assert phrase(field, published, ran, dataset="camvid") == words


def test_as_json(shipped):
    found = resolve(shipped, "contextrast-table6", "layers-4", "camvid", Request(settings=(("schedule.steps", 7),)))
    (deviation,) = between(found.published, found.ran)
    assert deviation.as_json() == {
        "path": "schedule.steps", "published": 6000, "ran": 7, "material": True, "says": "steps 7 of 6,000"
    }  # fmt: skip
