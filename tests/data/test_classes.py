"""Class tables against facts that were stated elsewhere."""

import numpy as np
import pytest
from torchvision.datasets import Cityscapes

from segbench.core.errors import InvalidFault
from segbench.data.classes import class_table, table_names

COUNTS = {
    "camvid": 11,
    "camvid-12": 12,
    "cityscapes": 19,
    "cityscapes-20": 20,
    "gta5": 19,
    "voc2012": 21,
    "ade20k": 150,
    "pascal-context": 59,
    "pascal-context-60": 60,
    "coco-stuff-10k": 171,
}


def test_the_tables_there_are() -> None:
    assert set(table_names()) == set(COUNTS)


@pytest.mark.parametrize("name", COUNTS)
def test_every_table(name: str) -> None:
    table = class_table(name)
    assert table.num_classes == COUNTS[name] == len(set(table.slugs))
    assert table.source
    assert all(slug.replace("_", "").isalnum() and slug == slug.lower() for slug in table.slugs)
    assert all(0 <= channel <= 255 for entry in table.classes for channel in entry.color)
    used = [train_id for _, train_id in table.values if train_id != 255]
    assert sorted(set(used)) == list(range(table.num_classes))
    assert len(used) == table.num_classes or name == "cityscapes-20"  # its void is many values
    raw = np.array([value for value, _ in table.values], np.uint8)
    assert table.to_train_ids(raw).tolist() == [train_id for _, train_id in table.values]


def test_cityscapes_is_torchvisions() -> None:
    table, values = class_table("cityscapes"), dict(class_table("cityscapes").values)
    for entry in Cityscapes.classes:
        if entry.id >= 0:
            assert values[entry.id] == entry.train_id
        if 0 <= entry.train_id < 255:
            assert table.classes[entry.train_id].name == entry.name
            assert table.classes[entry.train_id].color == entry.color
    assert table.slug(6) == "traffic_light"
    assert class_table("gta5").classes == table.classes


def test_voc_colours_are_the_bit_interleaved_ones() -> None:
    for train_id, entry in enumerate(class_table("voc2012").classes):
        bits = [sum(((train_id >> (3 * k + channel)) & 1) << (7 - k) for k in range(3)) for channel in range(3)]
        assert list(entry.color) == bits


def test_other_encodings() -> None:
    assert class_table("camvid-12").to_train_ids(np.array([0, 10, 11], np.uint8)).tolist() == [0, 10, 11]
    assert class_table("camvid-12").names == (*class_table("camvid").names, "void")
    assert class_table("ade20k").to_train_ids(np.array([0, 1, 150], np.uint8)).tolist() == [255, 0, 149]
    assert class_table("coco-stuff-10k").to_train_ids(np.array([0, 1, 13, 182], np.uint8)).tolist() == [255, 0, 11, 170]
    assert class_table("pascal-context").to_train_ids(np.array([0, 59], np.uint8)).tolist() == [255, 58]
    assert class_table("pascal-context-60").to_train_ids(np.array([0, 59], np.uint8)).tolist() == [0, 59]
    assert class_table("camvid").to_train_ids(np.array([10, 11], np.uint8)).tolist() == [10, 255]


def test_unknown_values_and_names() -> None:
    with pytest.raises(ValueError, match="12, 255"):
        class_table("camvid").to_train_ids(np.array([[3, 255], [12, 11]], np.uint8))
    with pytest.raises(ValueError, match="12"):  # "street sign" never occurs in COCO-Stuff
        class_table("coco-stuff-10k").to_train_ids(np.array([12], np.uint8))
    with pytest.raises(InvalidFault, match="camvid"):
        class_table("camvit")
    assert class_table("pascal-context-59") is class_table("pascal-context")


def test_palette() -> None:
    palette = class_table("camvid").palette()
    assert palette.shape == (256, 3)
    assert palette[4].tolist() == [60, 40, 222]
    assert palette[255].tolist() == [0, 0, 0]
