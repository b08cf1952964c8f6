"""The grid of predictions: what stands where, and the shares that it writes."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from segbench.core.errors import InvalidFault, UsageFault
from segbench.core.spec import DataSpec
from segbench.data.label_sets import LabelSet, Provenance
from segbench.data.open import open_dataset
from segbench.figures.grid import Columns, choose
from segbench.figures.predictions import _GAP, _HEADING, Column, colours, draw, legend
from tests.program import segbench, tiny

DATA = DataSpec(name="camvid", source="generated", images=3, size=(32, 48))


def test_pictures_stand_where_they_belong() -> None:
    data = open_dataset(DATA)
    inverted = Column("inverted", lambda key, image: (10 - data.read(int(key[-5:]))[1].clip(max=10)).astype(np.uint8))
    right = Column("right", lambda key, image: data.read(int(key[-5:]))[1])
    picture = draw(data, [0, 2], [inverted, right], width=48)
    assert picture.shape == (_HEADING + 2 * (32 + _GAP), 4 * 48 + 3 * _GAP, 3)
    for row, index in enumerate((0, 2)):
        image, label = data.read(index)
        top = _HEADING + _GAP + row * (32 + _GAP)
        cells = [picture[top : top + 32, n * (48 + _GAP) : n * (48 + _GAP) + 48] for n in range(4)]
        below = slice(24, None)  # captions are above
        assert np.array_equal(cells[0][below], image[below])
        assert np.array_equal(cells[1], colours(label, data.classes))
        assert np.array_equal(cells[3][below], cells[1][below])
        assert np.array_equal(cells[2][below], colours(10 - label.clip(max=10), data.classes)[below])


def test_colours_are_those_of_the_classes() -> None:
    table = open_dataset(DATA).classes
    painted = colours(np.array([[0, 10, 255]], np.uint8), table)
    assert painted[0, 0].tolist() == list(table.classes[0].color) and painted[0, 1].tolist() == list(
        table.classes[10].color
    )
    assert not painted[0, 2].any()
    assert legend(table, width=330).shape == (6 * _HEADING, 330, 3)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("grid") / "results"
    assert segbench(*tiny("contextrast-table6/layers-4-3", "--keep-checkpoints", out=out)).code == 0
    return out


def test_the_command(store: Path, tmp_path: Path) -> None:
    weights = sorted(store.glob("trainings/*/step-*.safetensors"))
    assert [path.name for path in weights] == ["step-000002.safetensors", "step-000004.safetensors"]
    done = segbench("show-predictions", *weights, "--images", 2, "--save", tmp_path / "grid.png")
    assert done.code == 0 and done.out == f"wrote {tmp_path / 'grid.png'}\n"
    picture = cv2.imread(str(tmp_path / "grid.png"))
    assert picture.shape[1] == 4 * 320 + 3 * _GAP and picture.std() > 10


def test_images_that_every_label_set_labels() -> None:
    data = open_dataset(DATA)
    keys = [data.key(index) for index in range(3)]
    made_by = Provenance("id", "first", "0", DATA.canonical(), "camvid", tuple(data.classes.names))
    sets = [LabelSet(Path(), made_by, dict.fromkeys(keys[:2], "")), LabelSet(Path(), made_by, {keys[1]: ""})]
    assert choose(data, [], number=2) == [0, 2] and choose(data, sets[:1], number=5) == [0, 1]
    assert choose(data, sets, number=5) == [1] and choose(data, sets, number=5, keys=[keys[2], keys[0]]) == [2, 0]
    with pytest.raises(UsageFault, match="no image of the split"):
        choose(data, [LabelSet(Path(), made_by, {})], number=1)
    assert Columns([], sets).data(split="train") == DATA
    smaller = replace(made_by, data=made_by.data | {"scale": 0.5})
    with pytest.raises(InvalidFault, match="several sizes"):
        Columns([], [*sets, LabelSet(Path(), smaller, {})]).data(split="train")
    with pytest.raises(UsageFault, match="not known"):
        Columns([], []).data(split="train")


def test_slips(store: Path, tmp_path: Path) -> None:
    (weights,) = store.glob("trainings/*/last.safetensors")
    assert "neither a checkpoint nor a label set" in segbench("show-predictions").fails(2)
    assert "pictures are .png or .jpg" in segbench("show-predictions", weights, "--save", "grid.gif").fails(2)
    assert "'train/none' is no image of the split" in segbench(
        "show-predictions", weights, "--key", "train/none"
    ).fails(2)
    assert segbench("show-predictions", tmp_path / "none.safetensors").code in (2, 3)
