"""Numbers of SemiSeg-Contrastive's schedule and networks, computed by hand from its released code."""

import pytest
import torch

from segbench.engine.optim import learning_rate
from segbench.methods.ema import cosine_decay
from segbench.methods.step import StepInfo
from segbench.models.segmentor import build_segmentor
from segbench.recipe.catalog import load_catalog, recipes_root
from segbench.recipe.resolve import resolve

STEPS = 150_000


@pytest.fixture(scope="module")
def catalog():
    return load_catalog(recipes_root())


def stage(catalog, table, row, dataset):
    (found,) = resolve(catalog, table, row, dataset).published.training.stages
    return found


def test_momentum_of_the_teacher(catalog):
    options = stage(catalog, "semiseg-table1", "imagenet-deeplabv2-1_30", "cityscapes").method.options
    expected = {
        0: 0.0, 1: 0.90909, 2: 0.95238, 5: 0.98039, 19: 0.99476, 20: 0.99500, 75_000: 0.99750, STEPS: 1.0,
    }  # fmt: skip
    given = {"start": options.get("teacher_momentum", 0.995), "warmup": options.get("teacher_warmup_factor", 10)}
    found = {step: round(cosine_decay(StepInfo(step, STEPS), **given), 5) for step in expected}
    assert found == expected


def test_learning_rate(catalog):
    schedule = stage(catalog, "semiseg-table1", "imagenet-deeplabv2-1_30", "cityscapes").schedule
    assert schedule.steps == STEPS
    rate = learning_rate(schedule.policy, schedule.optimizer.lr, step=75_000, steps=STEPS)
    assert rate == pytest.approx(1.0718e-4, rel=1e-4)


@pytest.mark.parametrize(
    ("table", "row", "dataset", "crop", "side"),
    [
        ("semiseg-table1", "coco-deeplabv2-1_30", "cityscapes", 512, 65),
        ("semiseg-table1", "imagenet-deeplabv2-1_30", "cityscapes", 512, 64),
        ("semiseg-table1", "imagenet-deeplabv3plus-1_30", "cityscapes", 512, 128),
        ("semiseg-table2", "imagenet-deeplabv2-1_50", "voc2012", 321, 41),
        ("semiseg-table2", "imagenet-deeplabv3plus-1_50", "voc2012", 321, 81),
    ],
)
def test_features_that_are_contrasted(catalog, table, row, dataset, crop, side):
    found = stage(catalog, table, row, dataset)
    assert found.primary_stream.crop == (crop, crop)
    with torch.device("meta"):
        network = build_segmentor(found.model, num_classes=19)
        embedding = network(torch.empty(2, 3, crop, crop)).embedding
    assert embedding.shape[-2:] == (side, side)


def test_parameters_of_deeplabv2(catalog):
    """47.15 M with heads and 38 selectors, 43.90 M without."""
    found = stage(catalog, "semiseg-table1", "imagenet-deeplabv2-1_30", "cityscapes")
    with torch.device("meta"):
        network = build_segmentor(found.model, num_classes=19)
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(43.90, abs=0.005)


def test_new_vectors_of_a_class(catalog):
    """q = max(1, round(256 / labelled)), of VOC floor(21 / 3 round(256 / labelled))."""
    for table, dataset in (
        ("semiseg-table1", "cityscapes"),
        ("semiseg-table2", "voc2012"),
        ("semiseg-table3", "cityscapes"),
    ):
        for row in catalog.table(table).file.rows:
            found = stage(catalog, table, row, dataset)
            labelled = found.primary_stream.data.subset.count
            wanted = max(1, round(256 / labelled))
            if dataset == "voc2012":
                wanted = max(1, int(21 / 3 * round(256 / labelled)))
            assert found.method.options.get("memory_new_per_image", 1) == wanted, (table, row)
