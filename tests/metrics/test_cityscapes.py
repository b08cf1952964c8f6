"""The Cityscapes scores against the benchmark's own evaluator, and by hand."""

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from segbench.core.errors import MissingFault
from segbench.core.spec import DataSpec
from segbench.data.classes import class_table
from segbench.engine.instances import label_ids
from segbench.metrics import scores
from segbench.metrics.cityscapes import CityscapesScores, LabelIds, Tallies, cityscapes_scores
from segbench.metrics.instances import count_image, count_instances
from tests.metrics.judge import evaluator

Map = NDArray[Any]
_LABELS = label_ids(DataSpec(name="cityscapes"), class_table("cityscapes"))
assert _LABELS is not None
LABELS: LabelIds = _LABELS
IDS = len(LABELS.names)
ROAD, SIDEWALK, SKY, PERSON, RIDER, CAR, TRUCK, CARAVAN, TRAILER, TRAIN = 7, 8, 23, 24, 25, 26, 27, 29, 30, 31


class Picture(NamedTuple):
    """Label ids, predicted ids and instance values, (H, W) each."""

    target: Map
    prediction: Map
    instances: Map


def tally(pictures: list[Picture]) -> Tallies:
    return Tallies.join([count_image(*picture, LABELS) for picture in pictures])


def scored(pictures: list[Picture]) -> CityscapesScores:
    return cityscapes_scores(tally(pictures), LABELS)


# Against the official evaluator


@pytest.fixture(scope="module")
def official() -> ModuleType:
    return evaluator()


def judged(official: ModuleType, pictures: list[Picture], folder: Path) -> dict[str, Any]:
    """Scores of the pictures by the official evaluator."""
    files: dict[str, list[str]] = {"pred": [], "labelIds": [], "instanceIds": []}
    for number, picture in enumerate(pictures):
        maps = (picture.prediction, picture.target, picture.instances)
        for (kind, names), values in zip(files.items(), maps, strict=True):
            names.append(str(folder / f"{number}_{kind}.png"))
            cv2.imwrite(names[-1], values.astype(np.uint16 if kind == "instanceIds" else np.uint8))
    found: dict[str, Any] = official.evaluateImgLists(files["pred"], files["labelIds"], official.args)
    return found


def check(found: dict[str, Any], own: CityscapesScores) -> None:
    """Every score equals the evaluator's, and scores left out are NaN there."""
    parts = {"class": own.class_iou, "classInst": own.class_iiou, "category": own.category_iou,
             "categoryInst": own.category_iiou}  # fmt: skip
    assert [len(part) for part in parts.values()] == [19, 8, 7, 2]
    for part, values in parts.items():
        every = found[f"{part}Scores"]
        assert {name: every[name] for name in values} == pytest.approx(values, rel=0, abs=1e-12, nan_ok=True)
        assert all(np.isnan(every[name]) for name in every.keys() - values.keys())
    means = own.means(absent="exclude")
    averages = {"miou": "Classes", "iiou": "InstClasses", "category_miou": "Categories",
                "category_iiou": "InstCategories"}  # fmt: skip
    expected = {name: found[f"averageScore{which}"] for name, which in averages.items()}
    assert means == pytest.approx(expected, rel=0, abs=1e-12, nan_ok=True)


def street(rng: np.random.Generator, *, size: tuple[int, int] = (64, 128)) -> Picture:
    """Rectangles of some labels, instances of every kind of oddity, and a prediction that is partly right."""
    height, width = size
    labels = rng.choice(IDS, rng.integers(1, 20), replace=False)
    target, instances = np.zeros(size, np.uint8), np.zeros(size, np.int32)
    counts = dict.fromkeys(range(IDS), 0)
    for _ in range(rng.integers(1, 40)):
        label = int(rng.choice(labels))
        top, left = rng.integers(0, height), rng.integers(0, width)
        tall, wide = (1, 1) if rng.random() < 0.1 else rng.integers(1, 30, 2)
        place = (slice(top, top + tall), slice(left, left + wide))
        target[place] = label
        value = label
        if label in LABELS.average_sizes and rng.random() < 0.8:  # otherwise a group
            value = label * 1000 + counts[label]
            counts[label] += 1
        instances[place] = value
        if rng.random() < 0.1:  # the label map says otherwise than the instance map
            target[place] = rng.choice(labels)
    prediction = np.where(rng.random(size) < rng.random(), target, rng.choice(IDS, size)).astype(np.uint8)
    if rng.random() < 0.5:  # few predicted labels, whole regions
        guesses = rng.choice(IDS, 5)
        prediction = np.where(rng.random(size) < 0.7, prediction, guesses[target % 5]).astype(np.uint8)
    return Picture(target, prediction, instances)


@pytest.mark.parametrize("seed", range(40))
def test_official_evaluator(seed: int, official: ModuleType, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    pictures = [street(rng) for _ in range(rng.integers(1, 4))]
    found = judged(official, pictures, tmp_path)
    assert found["confMatrix"] == tally(pictures).matrices.sum(0).tolist()
    check(found, scored(pictures))


def painted(*values: tuple[int, int, int], void: int = 0) -> Picture:
    """A 16x16 picture: a row of pixels for each (label, prediction, instance value)."""
    maps = [np.full((16, 16), void, np.int32) for _ in range(3)]
    for row, line in enumerate(values):
        for values_of, value in zip(maps, line, strict=True):
            values_of[row] = value
    return Picture(maps[0].astype(np.uint8), maps[1].astype(np.uint8), maps[2])


ODDITIES = {
    "nothing is labelled": [painted()],
    "ignored labels alone, predicted as classes": [painted((CARAVAN, CAR, 29000), (4, ROAD, 4), (1, SKY, 1))],
    "groups alone": [painted((PERSON, PERSON, PERSON), (CAR, CAR, CAR))],
    "predicted but not labelled": [painted((ROAD, CAR, ROAD), (ROAD, TRAIN, ROAD), (SKY, PERSON, SKY))],
    "trailer on a car": [painted((CAR, TRAILER, 26000), (CAR, CAR, 26000), (CAR, CARAVAN, 26001))],
    "car on a trailer": [painted((TRAILER, CAR, 30000), (CAR, CAR, 26000))],
    "trailer on a road": [painted((ROAD, TRAILER, ROAD), (CAR, CAR, 26000))],
    "void predicted on a class": [painted((CAR, 0, 26000), (ROAD, 3, ROAD), (PERSON, 5, 24000))],
    "rider for person": [painted((PERSON, RIDER, 24000), (RIDER, PERSON, 25000), (PERSON, PERSON, 24001))],
    "number zero and the last number": [painted((CAR, CAR, 26000), (CAR, TRUCK, 26999), (CAR, CAR, 26000))],
    "an instance of an ignored class between others": [painted((CAR, CAR, 26007), (CARAVAN, CAR, 29003),
                                                               (TRUCK, CAR, 27001))],
    "values of ignored labels over 1000": [painted((4, CAR, 4001), (CAR, CAR, 26000), (1, CAR, 1000))],
    "one image has no instances": [painted((ROAD, ROAD, ROAD)), painted((CAR, CAR, 26000), (CAR, ROAD, 26001))],
    "the same value in two images": [painted((CAR, CAR, 26000)), painted((CAR, ROAD, 26000), (CAR, CAR, 26000))],
}  # fmt: skip


@pytest.mark.parametrize("pictures", ODDITIES.values(), ids=ODDITIES)
def test_official_evaluator_on_oddities(pictures: list[Picture], official: ModuleType, tmp_path: Path) -> None:
    check(judged(official, pictures, tmp_path), scored(pictures))


def test_an_instance_of_one_pixel(official: ModuleType, tmp_path: Path) -> None:
    target, prediction, instances = painted((CAR, CAR, 26000), (CAR, ROAD, 26001))
    target[5, 5], prediction[5, 5], instances[5, 5] = PERSON, PERSON, 24000
    target[9, 9], prediction[9, 9], instances[9, 9] = PERSON, SKY, 24001
    pictures = [Picture(target, prediction, instances)]
    check(judged(official, pictures, tmp_path), scored(pictures))
    assert scored(pictures).class_iiou["person"] == 0.5


@pytest.mark.parametrize("seed", range(8))
def test_train_ids_are_enough(seed: int, official: ModuleType, tmp_path: Path) -> None:
    """Predictions of a network of 19 classes can be counted over train ids: ignored labels never matter."""
    rng = np.random.default_rng(seed)
    to_train = np.full(256, 255)
    to_train[list(LABELS.train_ids)] = range(19)
    pictures, matrices, rows = [], [], []
    for number in range(2):
        target, _, instances = street(rng)
        guess = rng.integers(0, 19, target.shape)
        wanted = to_train[target]
        predicted = np.where((wanted == 255) | (rng.random(target.shape) < 0.4), guess, wanted).astype(np.uint8)
        pictures.append(Picture(target, np.array(LABELS.train_ids)[predicted].astype(np.uint8), instances))
        matrix = np.zeros((19, 19), np.int64)
        np.add.at(matrix, (wanted[wanted != 255], predicted[wanted != 255]), 1)
        matrices.append(matrix)
        rows.append(count_instances(instances, predicted, LABELS, train_ids=True, image=number))
    tallies = Tallies.of_train_ids(np.stack(matrices), np.concatenate(rows), LABELS)
    check(judged(official, pictures, tmp_path), cityscapes_scores(tallies, LABELS))


def test_label_facts_are_the_official_ones(official: ModuleType) -> None:
    known = importlib.import_module("cityscapesscripts.helpers.labels").labels
    ids = sorted((label for label in known if label.id >= 0), key=lambda label: label.id)
    assert [label.id for label in ids] == list(range(IDS))
    assert [label.name for label in ids] == list(LABELS.names)
    assert [label.category for label in ids] == list(LABELS.categories)
    assert [not label.ignoreInEval for label in ids] == list(LABELS.scored)
    assert {label.id for label in ids if label.hasInstances} == set(LABELS.average_sizes)
    sizes = {LABELS.names[label]: size for label, size in LABELS.average_sizes.items()}
    assert sizes == official.args.avgClassSize
    trained = {label.trainId: label.id for label in ids if 0 <= label.trainId < 255}
    assert [trained[train_id] for train_id in range(19)] == list(LABELS.train_ids)


# By hand


def test_by_hand() -> None:
    """One row is 16 pixels. Two cars: one of 32 pixels, half right; one of 16, found as a truck. A road misread."""
    own = scored(
        [painted((CAR, CAR, 26000), (CAR, ROAD, 26000), (CAR, TRUCK, 26001), (ROAD, CAR, ROAD), (CAR, CAR, CAR))]
    )
    assert own.class_iou["car"] == 32 / (32 + 32 + 16)
    assert own.class_iou["road"] == 0 / (0 + 16 + 16)
    assert np.isnan(own.class_iou["bus"])
    size = 12794.0202738185
    right, wrong = 16 * size / 32, 16 * size / 32 + 16 * size / 16  # the group counts for neither
    assert own.class_iiou["car"] == pytest.approx(right / (right + wrong + 16), rel=1e-14)
    assert own.class_iiou["truck"] == 0
    assert np.isnan(own.class_iiou["bus"])
    assert own.category_iou["vehicle"] == 48 / (48 + 16 + 16)
    right, wrong = 16 * size / 32 + 16 * size / 16, 16 * size / 32
    assert own.category_iiou["vehicle"] == pytest.approx(right / (right + wrong + 16), rel=1e-14)
    assert np.isnan(own.category_iiou["human"])
    means = own.means(absent="exclude")
    assert means["miou"] == pytest.approx((32 / 80 + 0 + 0) / 3), "car, road and truck"
    assert means["category_miou"] == pytest.approx((48 / 80 + 0) / 2), "vehicle and flat"


def test_absent_rules_reach_all_four_means() -> None:
    own = scored([painted((CAR, CAR, 26000))])
    assert set(own.means(absent="exclude").values()) == {1.0}
    zero = own.means(absent="zero")
    assert zero == pytest.approx({"miou": 1 / 19, "iiou": 1 / 8, "category_miou": 1 / 7, "category_iiou": 1 / 2})
    assert set(own.means(absent="one").values()) == {1.0}
    assert all(np.isnan(value) for value in scored([painted()]).means(absent="exclude").values())


def test_trailer_on_a_car_is_right_for_the_category_of_instances_alone() -> None:
    own = scored([painted((CAR, TRAILER, 26000))])
    assert own.category_iiou["vehicle"] == 1
    assert (own.category_iou["vehicle"], own.class_iou["car"], own.class_iiou["car"]) == (0, 0, 0)


# What must not matter, and what must be refused


def test_order_of_images_changes_no_bit() -> None:
    pictures = [street(np.random.default_rng(seed)) for seed in range(6)]
    first, second = scored(pictures), scored(pictures[::-1])
    assert repr(first) == repr(second)


def test_tallies_of_images_are_those_of_each_alone() -> None:
    pictures = [street(np.random.default_rng(seed)) for seed in range(4)]
    joined = tally(pictures)
    for number, picture in enumerate(pictures):
        alone = count_image(*picture, LABELS)
        assert np.array_equal(joined.matrices[number], alone.matrices[0])
        own = joined.instances[joined.instances[:, 0] == number]
        assert np.array_equal(own[:, 1:], alone.instances[:, 1:])
    again = Tallies.join([tally(pictures[:1]), tally(pictures[1:])])
    assert np.array_equal(again.instances, joined.instances)
    assert np.array_equal(again.matrices, joined.matrices)


def test_instances_one_by_one() -> None:
    """A pass over the image for every instance, as slow as it is plain."""
    _, prediction, instances = street(np.random.default_rng(11))
    expected = []
    for value in np.unique(instances[instances > 1000]).tolist():
        label = value // 1000
        if not LABELS.scored[label]:
            continue
        seen = prediction[instances == value].tolist()
        category = LABELS.categories[label]
        right, alike = seen.count(label), sum(LABELS.categories[other] == category for other in seen)
        expected.append([7, value, len(seen), right, alike])
    assert len(expected) > 3
    assert count_instances(instances, prediction, LABELS, image=7).tolist() == expected
    wide = count_instances(instances.astype(np.int64), prediction.astype(np.int64), LABELS, image=7)
    assert wide.tolist() == expected
    assert count_instances(instances.astype(np.uint16), prediction, LABELS, image=7).tolist() == expected


def test_class_scores_are_those_of_the_plain_confusion_matrix() -> None:
    target, prediction, instances = street(np.random.default_rng(3))
    prediction = np.array(LABELS.train_ids)[prediction % 19].astype(np.uint8)
    own = scored([Picture(target, prediction, instances)])
    chosen = np.ix_(LABELS.train_ids, LABELS.train_ids)
    plain = count_image(target, prediction, instances, LABELS).matrices[0][chosen]
    expected = scores.iou_per_class(scores.Tally.of(plain))
    np.testing.assert_allclose([*own.class_iou.values()], expected, rtol=1e-15)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (7001, "val/x: instance values 7001 are of no class that has instances."),
        (23999, "values 23999"),
        (34000, "34000"),
        (2**31 - 1, "2147483647"),
    ],
)
def test_impossible_instances_are_refused(value: int, says: str) -> None:
    picture = painted((CAR, CAR, 26000), (CAR, CAR, value))
    with pytest.raises(MissingFault, match=says):
        count_instances(picture.instances, picture.prediction, LABELS, name="val/x")


def test_predictions_out_of_range_are_refused() -> None:
    picture = painted((CAR, 34, 26000))
    with pytest.raises(MissingFault, match=r"prediction value 34 .* lies outside 0\.\.33"):
        count_image(*picture, LABELS)
    picture = painted((CAR, 19, 26000))
    with pytest.raises(MissingFault, match=r"prediction value 19 lies outside 0\.\.18"):
        count_instances(picture.instances, picture.prediction, LABELS, train_ids=True)
    with pytest.raises(ValueError, match="agree"):
        count_instances(picture.instances[:, 1:], picture.prediction, LABELS)


def test_label_facts_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="same length"):
        LabelIds(("a",), ("b",), (True, False), {}, ())
    with pytest.raises(ValueError, match=r"0\.\.0"):
        LabelIds(("a",), ("b",), (True,), {1: 5.0}, ())
