"""CFN's losses against loops in float64 and the closed forms of the public code."""

import math

import pytest
import torch

from segbench.losses.cross_entropy import cross_entropy
from segbench.losses.fusion_contrast import column_sums, image_info_nce, place_info_nce
from segbench.losses.micro_dice import micro_dice_loss
from segbench.metrics.scores import Tally, micro_dice, pixel_accuracy

N, D, H, W, TAU = 4, 3, 2, 3, 0.07


@pytest.fixture
def maps():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(N, D, H, W, generator=generator, dtype=torch.float64).requires_grad_() for _ in range(2)]


def info_nce(first, second):
    """Symmetric InfoNCE of two lists of vectors, one pair at a time."""
    unit = lambda v: v / v.norm()  # noqa: E731
    total = 0.0
    for i in range(len(first)):
        rows = [torch.exp(unit(first[i]) @ unit(g) / TAU) for g in second]
        columns = [torch.exp(unit(f) @ unit(second[i]) / TAU) for f in first]
        total = total - torch.log(rows[i] / sum(rows)) - torch.log(columns[i] / sum(columns))
    return total / (2 * len(first))


def test_images_against_images(maps):
    student, teacher = maps
    wanted = info_nce([m.flatten() for m in student], [m.flatten() for m in teacher])
    torch.testing.assert_close(image_info_nce(student, teacher, temperature=TAU), wanted)
    assert image_info_nce(student[:1], teacher[:1], temperature=TAU).item() == 0


def test_places_against_places(maps):
    student, teacher = maps
    each = [info_nce(list(s.flatten(1).T), list(t.flatten(1).T)) for s, t in zip(student, teacher, strict=True)]
    torch.testing.assert_close(place_info_nce(student, teacher, temperature=TAU), sum(each) / N)


def test_the_public_code(maps):
    """Both directions divide by column sums of exponentials and average over all pairs."""
    q, k = (m.flatten(1) for m in maps)
    s = q @ k.T / TAU
    together = 0.0
    for matrix, others in ((s, s), (s.T, s)):  # the second direction divides by the same sums
        sums = others.exp().sum(0)
        for i in range(N):
            for j in range(N):
                together = together - torch.log(matrix[i, j].exp() / (sums[j] if matrix is s else sums[i])) / N**2
    torch.testing.assert_close(column_sums(*maps, temperature=TAU), together)
    assert column_sums(maps[0][:1], maps[1][:1], temperature=TAU).item() == 0


def test_the_closed_form_of_the_public_code(maps):
    """2 (mean_j logsumexp_i S_ij - mean_ij S_ij)."""
    q, k = (m.flatten(1) for m in maps)
    s = q @ k.T / TAU
    torch.testing.assert_close(column_sums(*maps, temperature=TAU), 2 * (s.logsumexp(0).mean() - s.mean()))


def test_matching_pairs_make_no_difference_to_the_public_code(maps):
    student, teacher = maps
    shuffled = teacher[torch.tensor([2, 3, 1, 0])]
    a, b = (column_sums(student, each, temperature=TAU) for each in (teacher, shuffled))
    torch.testing.assert_close(a, b)
    a, b = (image_info_nce(student, each, temperature=TAU) for each in (teacher, shuffled))
    assert not torch.allclose(a, b)


def test_raw_products_do_not_overflow():
    """Vectors of 131,072 numbers; their exponentials would."""
    large = torch.full((2, 131072), 3.0)
    assert torch.isfinite(column_sums(large, large, temperature=TAU))


def test_a_probability_as_a_logit_has_a_floor():
    """ln(1 + 19 / e) for 20 classes, however sure the network is."""
    logits = torch.full((1, 20, 1, 1), -100.0)
    logits[0, 3] = 100.0
    loss = cross_entropy(logits.softmax(1), torch.full((1, 1, 1), 3))
    assert loss.item() == pytest.approx(math.log(1 + 19 / math.e), abs=1e-5)
    assert loss.item() == pytest.approx(2.078, abs=1e-3)


def test_dice_by_a_loop():
    p = torch.randn(2, 3, 2, 2, dtype=torch.float64).softmax(1)
    target = torch.tensor([[[0, 1], [255, 2]], [[2, 2], [1, 0]]])
    common = predicted = labelled = 0.0
    for n in range(2):
        for y in range(2):
            for x in range(2):
                if target[n, y, x] == 255:
                    continue
                for c in range(3):
                    one = float(target[n, y, x] == c)
                    common, predicted, labelled = (
                        common + p[n, c, y, x] * one,
                        predicted + p[n, c, y, x],
                        labelled + one,
                    )
    torch.testing.assert_close(micro_dice_loss(p, target), 1 - (2 * common + 1) / (predicted + labelled + 1))


def test_micro_dice_is_the_pixel_accuracy():
    matrix = torch.randint(0, 50, (5, 5), generator=torch.Generator().manual_seed(0)).numpy()
    tally = Tally.of(matrix)
    assert micro_dice(tally) == pytest.approx(pixel_accuracy(tally))
    assert micro_dice(tally) == pytest.approx(matrix.trace() / matrix.sum())


def test_nothing_waits_for_the_device():
    maps = [torch.zeros(2, D, H, W, device="meta", requires_grad=True) for _ in range(2)]
    target = torch.zeros(2, H, W, dtype=torch.int64, device="meta")
    for form in (image_info_nce, place_info_nce, column_sums):
        form(*maps, temperature=TAU).backward()
    micro_dice_loss(maps[0].softmax(1), target).backward()
