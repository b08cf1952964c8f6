"""Names of classes as other projects spell them."""

import pytest

from segbench.checkpoints.class_names import agreement, is_reordered, likely_dataset, same_order, table_of
from segbench.data.classes import class_table, table_names

CITYSCAPES = class_table("cityscapes").names
# The first thirty of ADE20K as MMSegmentation and Hugging Face print them; the others are segbench's.
ADE20K = (
    "wall", "building", "sky", "floor", "tree", "ceiling", "road", "bed ", "windowpane", "grass", "cabinet", "sidewalk",
    "person", "earth", "door", "table", "mountain", "plant", "curtain", "chair", "car", "water", "painting", "sofa",
    "shelf", "house", "sea", "mirror", "rug", "field", *class_table("ade20k").names[30:],
)  # fmt: skip


@pytest.mark.parametrize("name", table_names())
def test_a_tables_own_names_are_found_however_they_are_spelled(name: str) -> None:
    names = class_table(name).names
    twins = {"gta5": "cityscapes"}  # the same classes
    for spelled in (names, [each.title().replace(" ", "-") for each in names], [f"{each}, or so" for each in names]):
        assert table_of(spelled) == twins.get(name, name)


def test_other_peoples_names() -> None:
    assert table_of(ADE20K) == "ade20k"
    assert table_of([f"class {number}" for number in range(19)]) == "" == table_of([])
    assert table_of([*CITYSCAPES[:14], "a", "b", "c", "d", "e"]) == "", "14 of 19 are too few"
    assert table_of([*CITYSCAPES[:15], "a", "b", "c", "d"]) == "cityscapes"


def test_the_order_counts() -> None:
    backwards = CITYSCAPES[::-1]
    assert agreement(backwards, CITYSCAPES) == pytest.approx(1 / 19), "the one in the middle"
    assert is_reordered(backwards, CITYSCAPES) and not same_order(backwards, CITYSCAPES)
    assert table_of(backwards) == ""
    assert not is_reordered(CITYSCAPES, CITYSCAPES) and same_order(CITYSCAPES, CITYSCAPES)
    assert not is_reordered([f"class {number}" for number in range(19)], CITYSCAPES)
    assert not is_reordered(CITYSCAPES[1:], CITYSCAPES) and agreement(CITYSCAPES[1:], CITYSCAPES) == 0


def test_likely_data_sets_follow_from_the_class_tables() -> None:
    """One that can be evaluated on comes before gta5, a main table before a variant."""
    found = {count: likely_dataset(count) for count in (11, 19, 20, 21, 59, 60, 150, 171, 7)}
    assert found == {
        11: "camvid", 19: "cityscapes", 20: "cityscapes", 21: "voc2012", 59: "pascal-context", 60: "pascal-context",
        150: "ade20k", 171: "coco-stuff-10k", 7: "",
    }  # fmt: skip
