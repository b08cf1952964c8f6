"""Generated street scenes: the same everywhere, labels that fit the table, every class, and never two alike."""

import time

import numpy as np
import pytest

from segbench.data.classes import class_table, table_names
from segbench.data.generated import render
from segbench.data.generated.roles import roles_of

SIZE = (48, 64)


def scene(index: int = 0, *, table: str = "camvid", size=SIZE, seed: int = 0, split: str = "train"):
    return render(index, table=class_table(table), size=size, seed=seed, split=split)


def test_same_arguments_same_picture() -> None:
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    first, again = scene(3), scene(3)
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])
    assert np.array_equal(state, np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.parametrize("change", [{"index": 4}, {"seed": 1}, {"split": "val"}])
def test_other_arguments_other_picture(change: dict) -> None:
    base, other = scene(**{"index": 3}), scene(**{"index": 3, **change})
    assert (base[0] != other[0]).mean() > 0.5
    assert (base[1] != other[1]).mean() > 0.05


@pytest.mark.parametrize("size", [(32, 32), (96, 128), (60, 33)])
def test_shapes_and_types(size: tuple[int, int]) -> None:
    image, label = scene(size=size)
    assert image.shape == (*size, 3)
    assert label.shape == size
    assert image.dtype == label.dtype == np.uint8
    assert image.std() > 10


@pytest.mark.parametrize("table", table_names())
def test_labels_fit_the_table(table: str) -> None:
    number = class_table(table).num_classes
    for index in range(3):
        label = scene(index, table=table)[1]
        assert (label[label != 255] < number).all()
        assert len(np.unique(label)) > 3


@pytest.mark.parametrize("table", ["camvid", "cityscapes", "voc2012", "pascal-context"])
def test_every_class_appears_with_a_long_tail(table: str) -> None:
    number = class_table(table).num_classes
    counts = np.zeros(256, np.int64)
    for index in range(200):
        counts += np.bincount(scene(index, table=table)[1].ravel(), minlength=256)
    assert (counts[:number] > 0).all()
    assert 0 < counts[255] < 0.15 * counts.sum()
    shares = np.sort(counts[:number] / counts[:number].sum())
    assert shares[-1] > 0.2
    assert shares[0] < 0.01
    if table == "camvid":  # as in the real set: half of the classes make up little of the picture
        assert 0.01 < shares[:6].sum() < 0.2


def test_classes_without_a_part_in_the_street_take_turns() -> None:
    table = class_table("ade20k")
    others = roles_of(table).others
    assert len(others) > 100
    seen = [others[index % len(others)] in scene(index, table="ade20k")[1] for index in range(60)]
    assert np.mean(seen) > 0.9


def test_no_class_is_known_by_its_colour() -> None:
    """Mean colours of the classes vary from picture to picture more than they differ from each other."""
    means: dict[int, list[np.ndarray]] = {}
    for index in range(40):
        image, label = scene(index)
        for train_id in np.unique(label[label != 255]):
            if (pixels := image[label == train_id]).shape[0] > 20:
                means.setdefault(int(train_id), []).append(pixels.mean(axis=0))
    within = np.mean([np.std(rows, axis=0).mean() for rows in means.values()])
    between = np.std([np.mean(rows, axis=0) for rows in means.values()], axis=0).mean()
    assert 0.3 * between < within < 4 * between


def test_speed() -> None:
    """A loose bound on processor time: about 13 ms were measured."""
    scene(size=(96, 128))
    begin = time.process_time()
    for index in range(10):
        scene(index, size=(96, 128))
    assert (time.process_time() - begin) / 10 < 0.15
