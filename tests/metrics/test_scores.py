"""Scores against hand values, another library and their own identities."""

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_f1_score,
    multiclass_jaccard_index,
)

from segbench.metrics import scores
from segbench.metrics.scores import Tally

# class 2 is predicted but never labelled, class 3 neither
HAND = Tally.of(np.array([[3, 1, 0, 0], [0, 4, 2, 0], [0, 0, 0, 0], [0, 0, 0, 0]]))


def test_hand_values() -> None:
    np.testing.assert_allclose(scores.iou_per_class(HAND), [3 / 4, 4 / 7, 0, np.nan])
    np.testing.assert_allclose(scores.dice_per_class(HAND), [6 / 7, 8 / 11, 0, np.nan])
    np.testing.assert_allclose(scores.accuracy_per_class(HAND), [3 / 4, 4 / 6, np.nan, np.nan])
    total = 3 / 4 + 4 / 7
    assert scores.miou(HAND, absent="exclude") == pytest.approx(total / 3)
    assert scores.miou(HAND, absent="zero") == pytest.approx(total / 4)
    assert scores.miou(HAND, absent="one") == pytest.approx((total + 1) / 4)
    assert scores.mean_dice(HAND, absent="exclude") == pytest.approx((6 / 7 + 8 / 11) / 3)
    assert scores.mean_class_accuracy(HAND, absent="exclude") == pytest.approx((3 / 4 + 4 / 6) / 2)
    assert scores.pixel_accuracy(HAND) == pytest.approx(7 / 10)
    assert scores.frequency_weighted_iou(HAND) == pytest.approx(0.4 * 3 / 4 + 0.6 * 4 / 7)


def test_the_rule_for_absent_classes_has_no_default() -> None:
    with pytest.raises(TypeError):
        scores.miou(HAND)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="exclude"):
        scores.miou(HAND, absent="skip")  # type: ignore[arg-type]


def test_nothing_labelled_and_nothing_predicted() -> None:
    nothing = Tally.of(np.zeros((3, 3), dtype=np.int64))
    assert np.isnan(scores.miou(nothing, absent="exclude"))
    assert scores.miou(nothing, absent="zero") == 0
    assert scores.miou(nothing, absent="one") == 1
    assert np.isnan(scores.pixel_accuracy(nothing))
    assert np.isnan(scores.frequency_weighted_iou(nothing))


def test_torchmetrics() -> None:
    classes = 8
    generator = torch.Generator().manual_seed(5)
    target = torch.randint(0, classes, (4000,), generator=generator)
    noise = torch.randint(0, classes, (4000,), generator=generator)
    prediction = torch.where(torch.rand(4000, generator=generator) < 0.5, target, noise)
    matrix = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(matrix, (target.numpy(), prediction.numpy()), 1)
    tally = Tally.of(matrix)
    given = {"preds": prediction, "target": target, "num_classes": classes}
    iou = multiclass_jaccard_index(**given, average="none")
    np.testing.assert_allclose(scores.iou_per_class(tally), iou, rtol=1e-6)
    assert scores.miou(tally, absent="exclude") == pytest.approx(iou.mean().item(), rel=1e-6)
    weighted = multiclass_jaccard_index(**given, average="weighted").item()
    assert scores.frequency_weighted_iou(tally) == pytest.approx(weighted, rel=1e-6)
    f1 = multiclass_f1_score(**given, average="macro").item()
    assert scores.mean_dice(tally, absent="exclude") == pytest.approx(f1, rel=1e-6)
    recall = multiclass_accuracy(**given, average="macro").item()
    assert scores.mean_class_accuracy(tally, absent="exclude") == pytest.approx(recall, rel=1e-6)
    micro = multiclass_accuracy(**given, average="micro").item()
    assert scores.pixel_accuracy(tally) == pytest.approx(micro, rel=1e-6)


def test_images_are_scored_alone_and_sum_to_the_data_set() -> None:
    matrices = np.random.default_rng(2).integers(0, 9, (6, 4, 4))
    matrices[0, 3] = matrices[0, :, 3] = 0
    images = Tally.of(matrices)
    assert scores.miou(images, absent="exclude").shape == (6,)
    for index, matrix in enumerate(matrices):
        alone = Tally.of(matrix)
        for score in (scores.miou, scores.mean_dice, scores.mean_class_accuracy):
            assert score(images, absent="zero")[index] == pytest.approx(score(alone, absent="zero"))
        for score in (scores.pixel_accuracy, scores.frequency_weighted_iou):
            assert score(images)[index] == pytest.approx(score(alone))
    np.testing.assert_array_equal(scores.iou_per_class(images.total()), scores.iou_per_class(Tally.of(matrices.sum(0))))


def test_a_dice_is_the_iou_in_other_words() -> None:
    tally = Tally.of(np.random.default_rng(0).integers(0, 50, (7, 7)))
    iou = scores.iou_per_class(tally)
    np.testing.assert_allclose(scores.dice_per_class(tally), 2 * iou / (1 + iou))


def test_best_constant_prediction_by_hand() -> None:
    """Of 10 pixels, 6 are class 0, 4 class 1, none class 2: always 0 scores IoU 0.6 and 0, class 2 is left out."""
    tally = scores.Tally(np.zeros(3, int), np.zeros(3, int), np.array([6, 4, 0]))
    assert scores.best_constant_miou(tally, absent="exclude") == pytest.approx(0.3)
    assert scores.best_constant_miou(tally, absent="zero") == pytest.approx(0.2)
