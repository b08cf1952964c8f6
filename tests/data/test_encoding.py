"""Which numbering explains a label map: every foreign one that is met in the wild, and none where there is nothing."""

import cv2
import numpy as np
import pytest

from segbench.data.classes import class_table, table_names
from segbench.data.doctor.encoding import explain

RNG = np.random.default_rng(3)


def label_of(table: str, *, classes: int | None = None) -> np.ndarray:
    """A label map of train ids (H, W) in which every class and 255 occur; classes with unequal shares."""
    number = classes or class_table(table).num_classes
    label = np.repeat(np.arange(number), RNG.integers(20, 200, number))
    return np.append(label, np.full(300, 255)).reshape(1, -1)


def written(label: np.ndarray, value_of: dict[int, int]) -> np.ndarray:
    """Histogram of a label map when each train id is written as that value; counted one by one."""
    raw = np.zeros(256, np.int64)
    for train_id in label.ravel().tolist():
        raw[value_of[train_id]] += 1
    return raw


def described(raw: np.ndarray, *tables: str) -> list[str]:
    return [found.description for found in explain(raw, [class_table(table) for table in tables])]


def own_values(table: str) -> dict[int, int]:
    """One value of each train id, and one that is ignored where the table has such a value."""
    values = {train_id: value for value, train_id in class_table(table).values}
    return {255: values.get(0, 0), **values}


@pytest.mark.parametrize("table", table_names())
def test_the_own_values_need_no_explanation(table: str) -> None:
    assert described(written(label_of(table), own_values(table)), table) == []


FOREIGN = {
    # the transform of train ids, what is ignored, and the words that name it
    "cityscapes train ids": (
        "cityscapes",
        lambda i: i,
        255,
        "class table cityscapes (0..18, 255 ignored)",
    ),
    "cityscapes with void as 0": ("cityscapes", lambda i: i + 1, 0, "raised by one (1..19, 0 ignored)"),
    "cityscapes with void as 19": ("cityscapes", lambda i: i, 19, "with 19 for what is ignored"),
    "camvid train ids": ("camvid", lambda i: i, 255, "train ids of class table camvid (0..10, 255 ignored)"),
    "camvid off by one": ("camvid", lambda i: i + 1, 12, "the values of class table camvid raised by one"),
    "camvid with void first uses the same values": ("camvid", lambda i: i + 1, 0, None),
    "ade20k reduced": ("ade20k", lambda i: i, 255, "train ids of class table ade20k (0..149, 255 ignored)"),
    "ade20k reduced twice": ("ade20k", lambda i: (i - 1) % 256, 254, None),
    "context with 59 classes": ("pascal-context", lambda i: i, 255, "(0..58, 255 ignored)"),
    "stuff as 171 classes": ("coco-stuff-10k", lambda i: i, 255, "(0..170, 255 ignored)"),
    "stuff as 171 classes and none": ("coco-stuff-10k", lambda i: i + 1, 0, "raised by one (1..171, 0 ignored)"),
    "stuff of version 1.0": ("coco-stuff-10k", lambda i: i + 2, 1, "raised by two (2..172, 1 ignored)"),
    "voc with border as 0": ("voc2012", lambda i: i + 1, 0, "raised by one (1..21, 0 ignored)"),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_foreign_numberings_are_named(case: str) -> None:
    table, value_of, ignored, words = FOREIGN[case]
    count = class_table(table).num_classes
    raw = written(label_of(table), {**{number: value_of(number) for number in range(count)}, 255: ignored})
    found = described(raw, table)
    assert (found == []) if words is None else any(words in each for each in found)


def test_182_ids_from_zero_are_the_171_lowered_by_one() -> None:
    values = {train_id: (value - 1) % 256 for train_id, value in own_values("coco-stuff-10k").items()}
    assert values[255] == 255
    found = described(written(label_of("coco-stuff-10k"), values), "coco-stuff-10k")
    assert found == ["the values of class table coco-stuff-10k lowered by one (0 became 255)"]


@pytest.mark.parametrize("table", ["voc2012", "camvid", "cityscapes"])
def test_colours_that_were_turned_into_grey(table: str) -> None:
    colours = np.array([entry.color for entry in class_table(table).classes], np.uint8).reshape(1, -1, 3)
    greys = cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY).ravel().tolist()
    raw = written(label_of(table), {**dict(enumerate(greys)), 255: 0})
    assert "turned into grey" in str(described(raw, table))


def test_numberings_with_the_same_values_are_all_named() -> None:
    label = label_of("cityscapes")
    found = explain(written(label, {**{i: i + 1 for i in range(19)}, 255: 0}), [class_table("cityscapes")])
    assert {0: 255, **{number + 1: number for number in range(19)}} in [each.values for each in found]
    assert {19: 255, **{number: number for number in range(19)}} in [each.values for each in found], "the same values"
    assert len(found) == 2


def test_strays_and_nonsense_are_not_explained() -> None:
    raw = written(label_of("camvid"), own_values("camvid"))
    for value in (12, 200, 255):
        stray = raw.copy()
        stray[value] = 3
        assert described(stray, "camvid") == [], "a few wrong pixels are wrong pixels"
    constant = np.zeros(256, np.int64)
    constant[77] = 5000
    assert described(constant, "camvid") == []
    assert described(np.zeros(256, np.int64), "camvid") == []
    without = raw.copy()
    without[0], without[6] = raw[0] + raw[6], 0
    assert described(without, "camvid") == [], "a class that is absent and no numbering that has it"


def test_a_variant_of_the_data_set_can_explain_too() -> None:
    label = label_of("pascal-context-60")
    raw = written(label, {**{number: number for number in range(60)}, 255: 255})
    assert "pascal-context-60 (0..59, 255 ignored)" in str(described(raw, "pascal-context", "pascal-context-60"))
