"""Labelled images of the semi-supervised tables: their number, their choice, and their scaling by budgets."""

import pytest

from segbench.recipe import deviations
from segbench.recipe.resolve import Request, resolve, resolve_all

# The released configurations and, for 1/15, 1/6 and 1/3, what the readings take by default.
SEMISEG = {"1_30": 100, "1_15": 200, "1_8": 372, "1_6": 500, "1_4": 744, "1_3": 1000}
VOC = {"1_50": 212, "1_20": 530, "1_8": 1323}


def subset(resolved, stream="labelled"):
    (stage,) = resolved.ran.training.stages
    return stage.streams[stream].data.subset


@pytest.mark.parametrize(("table", "counts"), [("semiseg-table1", SEMISEG), ("semiseg-table2", VOC)])
def test_every_ratio_has_its_number(shipped, table, counts):
    seen = set()
    for resolved in resolve_all(shipped, table):
        ratio = resolved.row.rpartition("-")[2]
        seen.add(ratio)
        assert subset(resolved).count == counts[ratio], resolved.name
        assert subset(resolved) == subset(resolved, "unlabelled")
    assert seen == set(counts)


def test_ratios_with_gta5(shipped):
    counts = {item.row.rpartition("-")[2]: subset(item).count for item in resolve_all(shipped, "semiseg-table3")}
    assert counts == {ratio: SEMISEG[ratio] for ratio in ("1_30", "1_15", "1_6", "1_3")}


@pytest.mark.parametrize("option", ["released-seeded", "random-seeded"])
def test_a_reading_lets_the_seed_choose(shipped, option):
    row = ("semiseg-table2", "coco-deeplabv2-1_50", "voc2012")
    reading = (("labelled-split-voc", option),)
    one, two = (resolve(shipped, *row, Request(seed=seed, readings=reading)) for seed in (0, 1))
    assert subset(one).draw is None
    assert one.ran.training.id() != two.ran.training.id()
    assert one.ran.training.family() == two.ran.training.family()
    plain = resolve(shipped, *row)
    assert (subset(plain).rule, subset(plain).order, subset(plain).draw) == ("permutation", "released", None)
    first = resolve(shipped, *row, Request(readings=(("labelled-split-voc", "released-0"),)))
    assert subset(first).draw == 0


@pytest.mark.parametrize(
    ("option", "rule", "order", "draw"),
    [
        ("shards-shuffled", "shards", "shuffled", 0),
        ("shards-sorted", "shards", "sorted", 0),
        ("random", "random", "sorted", 0),
        ("random-seeded", "random", "sorted", None),
        ("balanced", "balanced", "sorted", 0),
    ],
)
def test_where_a_draw_is_left_open(shipped, option, rule, order, draw):
    row = ("label-efficient-table1", "voc2012-2118-scratch", "voc2012")
    found = subset(resolve(shipped, *row, Request(readings=(("subset", option),))))
    assert (found.count, found.rule, found.order, found.draw) == (2118, rule, order, draw)


# 24 scenes: the share that is labelled of the real images, at least a batch of four, and never all.
@pytest.mark.parametrize(
    ("table", "row", "count"),
    [
        ("semiseg-table1", "imagenet-deeplabv2-1_30", 4),
        ("semiseg-table1", "imagenet-deeplabv2-1_4", 6),
        ("semiseg-table1", "imagenet-deeplabv2-1_3", 8),
        ("label-efficient-table1", "cityscapes-596-scratch", 5),
        ("label-efficient-table1", "voc2012-2118-scratch", 5),
    ],
)
def test_generated_scenes_are_labelled_in_proportion(shipped, table, row, count):
    dataset = "voc2012" if row.startswith("voc") else "cityscapes"
    resolved = resolve(shipped, table, row, dataset, Request("smoke"))
    assert subset(resolved).count == count
    said = [str(each) for each in deviations.between(resolved.published, resolved.ran)]
    published = resolved.published.training.stages[0].streams["labelled"].data.subset.count
    assert any(f"labelled images {count:,} of {published:,}" in line for line in said), said
    assert subset(resolve(shipped, table, row, dataset, Request("small"))).count == published


def test_two_stages_have_one_subset(shipped):
    resolved = resolve(shipped, "label-efficient-table1", "cityscapes-596-contrast", "cityscapes", Request("smoke"))
    counts = {stage.streams["labelled"].data.subset.count for stage in resolved.ran.training.stages}
    assert counts == {5}
