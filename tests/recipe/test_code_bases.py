"""One code base for the rows of Contextrast's tables: a group of readings, each with what it explains."""

from pathlib import Path

import pytest
import torch

from segbench.models.segmentor import build_segmentor
from segbench.recipe.catalog import Catalog, load_catalog, recipes_root
from segbench.recipe.resolve import Request, Resolved, resolve

TABLE = "contextrast-main-table1"
OURS = ("hrnet", "deeplabv3", "ocrnet")


@pytest.fixture(scope="module")
def shipped() -> Catalog:
    return load_catalog(recipes_root())


def row(shipped: Catalog, name: str, code: str, dataset: str = "cityscapes") -> Resolved:
    return resolve(shipped, TABLE, name, dataset, Request(readings=(("code-base", code),)))


@pytest.mark.parametrize("name", OURS)
def test_mmsegmentation_as_a_whole(shipped: Catalog, name: str) -> None:
    """Its schedule_40k with the Cityscapes data of its configurations, and its single-scale test."""
    ran = row(shipped, name, "mmsegmentation").published
    assert ran.training is not None and ran.evaluation is not None
    stage = ran.training.stages[0]
    schedule = stage.schedule
    assert (schedule.steps, schedule.optimizer.lr, schedule.optimizer.weight_decay) == (40000, 0.01, 5e-4)
    assert (schedule.policy.power, schedule.policy.min_lr, schedule.policy.warmup_steps) == (0.9, 1e-4, 0)
    stream = stage.streams["labelled"]
    assert stream.crop == (512, 1024) and stream.batch_total == 8
    assert stream.augmentation.jitter is not None and stream.augmentation.jitter.style == "mmseg"
    assert (stream.augmentation.scale, stream.augmentation.max_class_share) == ((0.5, 2.0), 0.75)
    assert stage.method.options.get("class_weights") is None and not stage.model.align_corners
    assert (ran.evaluation.scales, ran.evaluation.flip, ran.evaluation.enlarge) == ((1.0,), False, "twice")


@pytest.mark.parametrize(
    ("code", "millions"),
    [("pissas", "70.01"), ("mmsegmentation", "65.86"), ("openseg", "70.01")],
)
def test_hrnet_of_each_code_has_its_parameters(shipped: Catalog, code: str, millions: str) -> None:
    """As printed by the supplement, by the successor, and as of ContrastiveSeg's network."""
    training = row(shipped, "hrnet", code).published.training
    assert training is not None
    with torch.device("meta"):
        network = build_segmentor(training.stages[0].model, num_classes=19)
    found = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    assert f"{found:.2f}" == millions


def test_openseg_is_contrastiveseg(shipped: Catalog) -> None:
    """On Cityscapes the network, input, weights and augmentation are those of ContrastiveSeg's own rows."""
    for name, theirs in (("hrnet", "hrnetv2-w48"), ("ocrnet", "ocr-hrnetv2-w48"), ("deeplabv3", "deeplabv3-r101")):
        ours = row(shipped, name, "openseg").published.training
        other = resolve(shipped, "contrastiveseg-table1", theirs, "cityscapes").published.training
        assert ours is not None and other is not None
        mine, its = ours.stages[0], other.stages[0]
        assert mine.weights == its.weights, name
        assert mine.streams["labelled"].augmentation == its.streams["labelled"].augmentation, name
        assert (mine.model.backbone, mine.model.align_corners, mine.model.input) == (
            its.model.backbone, its.model.align_corners, its.model.input,
        ), name  # fmt: skip
        with torch.device("meta"):
            networks = [build_segmentor(stage.model, num_classes=19).state_dict() for stage in (mine, its)]
        shapes = [{key: value.shape for key, value in network.items()} for network in networks]
        assert shapes[0] == shapes[1], name


def test_readings_in_place_of_values(shipped: Catalog) -> None:
    """What no text says is a reading with its confidence; the defaults are what they were."""
    swin = resolve(shipped, "contextrast-table2", "upernet", "cityscapes")
    uses = {use.name: (use.option, use.confidence) for use in swin.readings}
    assert uses["upernet-warmup"] == ("1500", "low") and uses["swin-drop-path"] == ("0.3", "low")
    none = resolve(
        shipped, "contextrast-table2", "upernet", "cityscapes", Request(readings=(("upernet-warmup", "none"),))
    )
    assert none.published.training is not None
    assert none.published.training.stages[0].schedule.policy.warmup_steps == 0
    mscs = row(shipped, "hrnet+mscs", "pissas")
    assert ("mscs-groups", "batch") in [(use.name, use.option) for use in mscs.readings]
    scored = resolve(shipped, "label-efficient-figure1", next(iter(shipped.table("label-efficient-figure1").file.rows)),
                     "cityscapes")  # fmt: skip
    assert ("evaluation-scales", "single", "low") in [(use.name, use.option, use.confidence) for use in scored.readings]


def test_every_reading_of_a_group_is_documented() -> None:
    text = Path(recipes_root() / "contextrast" / "readings.yaml").read_text()
    assert text.count("group: code-base") == 9
    assert "77.12 is the main paper's baseline" in " ".join(text.split())
    assert "78.48 is the main paper's baseline" in " ".join(text.split())
