"""Metric profiles against masks, torchmetrics and identities."""

import math

import numpy as np
import pytest
import torch
from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex

from segbench.core.errors import UsageFault
from segbench.metrics.profiles import PROFILES, explain, parse_profiles, score_profiles
from segbench.metrics.scores import Tally

C, N = 4, 5
NAMES = tuple(PROFILES)


@pytest.fixture
def masks():
    """Labels and predictions of five images; class 3 is predicted and never labelled, 2 is missing in most of them."""
    rng = np.random.default_rng(0)
    labels, predicted = rng.integers(0, 2, (N, 6, 8)), rng.integers(0, 2, (N, 6, 8))
    labels[0, :2], predicted[0, 1:3] = 2, 2
    predicted[1, 0] = 3
    labels[:, 5, 4:] = 255
    labels[4, :] = 255  # an image without a labelled pixel
    return labels, predicted


def tally(labels, predicted, classes=C):
    matrices = np.zeros((len(labels), classes, classes), np.int64)
    for n in range(len(labels)):
        for true, found in zip(labels[n].ravel(), predicted[n].ravel(), strict=True):
            if true != 255:
                matrices[n, true, found] += 1
    return Tally.of(matrices)


def one_hot(labels, predicted):
    """Binary masks (pixels, C) of labels and predictions where there is a label."""
    inside = labels.ravel() != 255
    eye = np.eye(C)
    return eye[labels.ravel()[inside]], eye[predicted.ravel()[inside]]


def ious(labels, predicted, empty=None):
    y, p = one_hot(labels, predicted)
    common, union = (y * p).sum(0), np.maximum(y, p).sum(0)
    return [c / u if u else empty for c, u in zip(common, union, strict=True)]


def mean(values):
    found = [value for value in values if value is not None]
    return sum(found) / len(found) if found else math.nan


def by_masks(name, labels, predicted):
    """The mIoU of a profile from the masks themselves, as its sentence says."""
    images = [(labels[n], predicted[n]) for n in range(N) if (labels[n] != 255).any()]
    match name:
        case "standard":
            return mean(ious(labels, predicted))
        case "absent-0" | "absent-1":
            return mean(ious(labels, predicted, empty=float(name[-1])))
        case "labelled-only":
            return mean([value for c, value in enumerate(ious(labels, predicted)) if (labels == c).any()])
        case "without-class-0":
            return mean(ious(labels, predicted)[1:])
        case "micro":
            y, p = one_hot(labels, predicted)
            return (y * p).sum() / np.maximum(y, p).sum()
        case "per-image":
            return mean([mean(ious(*image)) for image in images])
        case "per-image-labelled":
            each = [[v for c, v in enumerate(ious(*image)) if (image[0] == c).any()] for image in images]
            return mean([mean(values) for values in each])
        case "cfn-baselines" | "cfn-released":
            values = []
            for n in range(N):
                y, p = one_hot(labels[n], predicted[n])
                common, union = (y * p).sum(0), np.maximum(y, p).sum(0)
                one = name == "cfn-released"
                values.append(
                    np.mean([(c + one) / (u + (1 if one else 1e-7)) for c, u in zip(common, union, strict=True)])
                )
            return mean(values)
    raise AssertionError(f"no definition of {name}")


@pytest.mark.parametrize("name", NAMES)
def test_against_masks(masks, name):
    found = PROFILES[name].score(tally(*masks))
    assert found.miou == pytest.approx(100 * by_masks(name, *masks))


def test_dice_and_accuracy_of_the_public_code(masks):
    labels, predicted = masks
    dice, entries = [], []
    for n in range(N):
        y, p = one_hot(labels[n], predicted[n])
        dice.append((2 * (y * p).sum() + 1) / (y.sum() + p.sum() + 1))
        if len(y):
            entries.append((y == p).mean())
    found = PROFILES["cfn-released"].score(tally(labels, predicted))
    assert found.dice == pytest.approx(100 * np.mean(dice))
    assert found.accuracy == pytest.approx(100 * np.mean(entries))


def test_against_torchmetrics(masks):
    labels, predicted = (torch.from_numpy(each) for each in masks)
    counts = tally(*masks)
    for name, average in (("labelled-only", None), ("micro", "micro")):
        metric = MulticlassJaccardIndex(C, average=average or "none", ignore_index=255)
        values = metric(predicted, labels)
        wanted = values if average else values[[c for c in range(C) if (labels == c).any()]].mean()
        assert PROFILES[name].score(counts).miou == pytest.approx(100 * wanted.item(), abs=1e-4)
    accuracy = MulticlassAccuracy(C, average="micro", ignore_index=255)(predicted, labels)
    assert PROFILES["standard"].score(counts).accuracy == pytest.approx(100 * accuracy.item(), abs=1e-4)


def test_identities(masks):
    found = score_profiles(tally(*masks), NAMES)
    assert found["micro"].dice == pytest.approx(found["micro"].accuracy)
    assert found["absent-0"].miou <= found["standard"].miou <= found["absent-1"].miou
    micro = found["micro"]
    assert micro.dice / 100 == pytest.approx(2 * micro.miou / (100 + micro.miou))
    perfect = tally(masks[0], np.where(masks[0] == 255, 0, masks[0]))
    for name, scores in score_profiles(perfect, NAMES).items():
        if name not in ("absent-0", "cfn-baselines"):
            assert scores.miou == pytest.approx(100), name


@pytest.mark.parametrize("name", NAMES)
def test_order_of_images_and_names_of_classes(masks, name):
    labels, predicted = masks
    order, renamed = np.array([3, 1, 4, 0, 2]), np.array([0, 2, 3, 1])
    other = np.where(labels == 255, 255, renamed[labels.clip(max=3)])
    whole = PROFILES[name].score(tally(labels, predicted))
    again = PROFILES[name].score(tally(other[order], renamed[predicted][order]))
    assert again.miou == pytest.approx(whole.miou) and again.dice == pytest.approx(whole.dice)


def test_nothing_labelled():
    nothing = Tally(*(np.zeros((2, C), np.int64) for _ in range(3)))
    found = score_profiles(nothing, NAMES)
    assert all(math.isnan(found[name].miou) for name in ("standard", "labelled-only", "micro", "per-image"))


def test_the_sentence_comes_from_the_counts(masks):
    counts = tally(*masks)
    found = score_profiles(counts, NAMES)
    text = explain(counts, found)
    values = {name: scores.miou for name, scores in found.items()}
    low, high = min(values, key=values.get), max(values, key=values.get)
    assert text.startswith(f"{values[high] - values[low]:.1f} points lie between {low} and {high}:")
    assert f"{(3 + 3 + 2 + 2 + 0) / 5:.1f} of 4 classes on average" in text
    assert "1 are predicted and never labelled" in text
    assert explain(counts, {"standard": found["standard"]}) == ""


def test_names():
    assert parse_profiles(["micro,standard", "micro"], command="eval") == ("micro", "standard")
    assert parse_profiles(["all"], command="eval") == NAMES
    with pytest.raises(UsageFault, match=r"No profile 'standrd'\. Close: standard"):
        parse_profiles(["standrd"], command="eval")


def test_large_sets_take_no_loop():
    """500 images of 19 classes and 2,000 of 150: whole arrays, so that no profile walks over images."""
    rng = np.random.default_rng(0)
    target = rng.integers(0, 9, (2000, 150))
    counts = Tally(target // 2, target, target)
    assert score_profiles(counts, NAMES)["standard"].miou > 0
