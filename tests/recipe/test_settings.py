"""``contextrast-table1`` against Table 1 of the supplement, typed by hand from its text."""

import pytest

from segbench.recipe.resolve import Request, resolve

# row: (crop, lr, weight decay, optimizer, scheduler, batch, steps)
TABLE_1 = {
    "cityscapes-deeplabv3": ((512, 1024), 1e-2, 5e-4, "sgd", "Poly", 8, 40_000),
    "cityscapes-hrnet": ((512, 1024), 1e-2, 5e-4, "sgd", "Poly", 8, 40_000),
    "cityscapes-ocrnet": ((512, 1024), 1e-2, 5e-4, "sgd", "Poly", 8, 40_000),
    "cityscapes-upernet": ((512, 1024), 6e-5, 1e-2, "adamw", "Linear", 6, 40_000),
    "camvid-deeplabv3": ((360, 480), 2e-2, 5e-4, "sgd", "Poly", 16, 6_000),
    "camvid-hrnet": ((360, 480), 2e-2, 5e-4, "sgd", "Poly", 16, 6_000),
    "camvid-ocrnet": ((360, 480), 2e-2, 5e-4, "sgd", "Poly", 16, 6_000),
    "camvid-upernet": ((360, 480), 6e-5, 1e-2, "adamw", "Linear", 16, 6_000),
    "ade20k-deeplabv3": ((512, 512), 1e-2, 5e-4, "sgd", "Poly", 12, 80_000),
    "ade20k-hrnet": ((512, 512), 1e-2, 5e-4, "sgd", "Poly", 12, 80_000),
    "ade20k-ocrnet": ((512, 512), 1e-2, 5e-4, "sgd", "Poly", 12, 80_000),
    "coco-stuff-deeplabv3": ((512, 512), 1e-3, 5e-4, "sgd", "Poly", 16, 60_000),
    "coco-stuff-hrnet": ((512, 512), 1e-3, 5e-4, "sgd", "Poly", 16, 60_000),
    "coco-stuff-ocrnet": ((512, 512), 1e-3, 5e-4, "sgd", "Poly", 16, 60_000),
    "pascal-context-deeplabv3": ((512, 512), 1e-3, 1e-4, "sgd", "Poly", 16, 60_000),
    "pascal-context-hrnet": ((512, 512), 1e-3, 1e-4, "sgd", "Poly", 16, 60_000),
    "pascal-context-ocrnet": ((512, 512), 1e-3, 1e-4, "sgd", "Poly", 16, 60_000),
}
NETWORKS = {
    "deeplabv3": ("resnet", "deeplabv3"),
    "hrnet": ("hrnetv2", "concat"),
    "ocrnet": ("hrnetv2", "ocr"),
    "upernet": ("swin", "upernet"),
}
DATASETS = {"coco-stuff": "coco-stuff-10k"}


def test_rows(shipped):
    assert list(shipped.table("contextrast-table1").file.rows) == list(TABLE_1)


@pytest.mark.parametrize("row", TABLE_1)
def test_settings(shipped, row):
    (dataset,) = shipped.table("contextrast-table1").datasets(row)
    name, network = row.rsplit("-", 1)
    assert dataset == DATASETS.get(name, name)
    (stage,) = resolve(shipped, "contextrast-table1", row, dataset).published.training.stages
    (stream,) = stage.streams.values()
    optimizer, policy = stage.schedule.optimizer, stage.schedule.policy
    scheduler = "Linear" if policy.power == 1.0 else "Poly"
    assert (
        stream.crop, optimizer.lr, optimizer.weight_decay, optimizer.name, scheduler, stream.batch_total,
        stage.schedule.steps,
    ) == TABLE_1[row]  # fmt: skip
    assert policy.name == "poly"
    assert (stage.model.backbone.name, stage.model.decoder.name) == NETWORKS[network]
    assert stage.method.name == "supervised"
    assert stage.weights.backbone == "imagenet"
    assert (stream.data.name, stream.data.splits) == (dataset, ("train",))


def test_the_successor_paper_reads_otherwise(shipped):
    """Contextrast++ Table II prints 1e-2 and 5e-4 for COCO-Stuff and PASCAL-Context."""
    request = Request(readings=(("learning-rate", "successor"),))
    for row, dataset in (("coco-stuff-hrnet", "coco-stuff-10k"), ("pascal-context-ocrnet", "pascal-context")):
        (stage,) = resolve(shipped, "contextrast-table1", row, dataset, request).ran.training.stages
        optimizer = stage.schedule.optimizer
        assert (optimizer.lr, optimizer.weight_decay) == (1e-2, 5e-4)
