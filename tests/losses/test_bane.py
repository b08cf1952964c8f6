import math
from fractions import Fraction
from itertools import chain

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt

from segbench.losses.bane import error_map, select_pixels, share_of


def slow_bane(labels, predictions, classes, percent, *, per_batch=False):
    """Eq. 13-14, mask by mask with SciPy, ties in raster order."""
    labels, predictions = labels.numpy(), predictions.numpy()
    selected = np.zeros(labels.shape, dtype=bool)
    for n in range(classes):
        found = []
        for image in range(len(labels)):
            errors = (labels[image] == n) & (predictions[image] != n)
            distances = np.full(errors.shape, np.inf) if errors.all() else distance_transform_edt(errors)
            found.append([(distances[i, j], image, i, j) for i, j in np.argwhere(errors)])
        for group in [[*chain(*found)]] if per_batch else found:
            keep = math.ceil(Fraction(str(percent)) * len(group) / 100)
            for _, image, i, j in sorted(group)[:keep]:
                selected[image, i, j] = True
    return torch.from_numpy(selected)


@pytest.fixture
def maps(blobs):
    return blobs(0, images=3, size=(24, 31), classes=5), blobs(1, images=3, size=(24, 31), classes=5, ignored=0)


@pytest.mark.parametrize("percent", [10, 12.5, 33.33, 50, 100])
@pytest.mark.parametrize("percentile", ["image", "batch"])
def test_equals_the_loop(maps, percent, percentile):
    labels, predictions = maps
    got = select_pixels(labels, predictions, num_classes=5, percent=percent, percentile=percentile)
    assert torch.equal(got, slow_bane(labels, predictions, 5, percent, per_batch=percentile == "batch"))


def test_random_ties_keep_the_same_distances(maps):
    labels, predictions = maps
    raster = select_pixels(labels, predictions, num_classes=5, percent=30)
    drawn = [
        select_pixels(labels, predictions, num_classes=5, percent=30, generator=torch.Generator().manual_seed(seed))
        for seed in (0, 0, 1)
    ]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    for image in range(3):
        for n in range(5):
            errors = ((labels[image] == n) & (predictions[image] != n)).numpy()
            distances = distance_transform_edt(errors)
            kept = [np.sort(distances[errors & choice[image].numpy()]) for choice in (raster, drawn[0])]
            assert np.array_equal(*kept)


@pytest.mark.parametrize("sampler", ["bane", "semi_hard", "random"])
@pytest.mark.parametrize("percentile", ["image", "batch"])
def test_every_sampler_chooses_as_many(maps, sampler, percentile):
    labels, predictions = maps
    got = select_pixels(
        labels,
        predictions,
        num_classes=5,
        percent=40,
        sampler=sampler,
        percentile=percentile,
        generator=torch.Generator().manual_seed(0),
    )
    assert not got[labels == 255].any()
    if sampler != "random":
        assert not got[labels == predictions].any()
    for n in range(5):
        chosen = ((labels == n) & got).sum((1, 2))
        errors = ((labels == n) & (predictions != n)).sum((1, 2))
        if percentile == "image":
            assert chosen.tolist() == [-(-4 * int(count) // 10) for count in errors]
        else:
            assert int(chosen.sum()) == -(-4 * int(errors.sum()) // 10)


def test_edge_distance_prefers_edges():
    labels = torch.zeros(1, 5, 9).long()
    predictions = torch.zeros(1, 5, 9).long()
    predictions[0, :, 4:] = 1  # errors reach the right border, which is no edge
    got = select_pixels(labels, predictions, num_classes=2, percent=20, distance="edge")
    assert got[0].nonzero()[:, 1].tolist() == [4] * 5


def test_invariances(maps):
    labels, predictions = maps
    plain = select_pixels(labels, predictions, num_classes=5)
    order = torch.tensor([2, 0, 1])
    assert torch.equal(plain[order], select_pixels(labels[order], predictions[order], num_classes=5))
    table = torch.full((256,), 255)
    table[:5] = torch.tensor([3, 0, 4, 1, 2])
    assert torch.equal(plain, select_pixels(table[labels], table[predictions], num_classes=5))
    elsewhere = torch.where(labels == 255, 4 - predictions, predictions)
    assert torch.equal(plain, select_pixels(labels, elsewhere, num_classes=5))


@pytest.mark.parametrize("sampler", ["bane", "semi_hard", "random"])
def test_nothing_to_choose(sampler):
    ignored = torch.full((2, 4, 4), 255)
    generator = torch.Generator().manual_seed(0)
    for labels, predictions in ((ignored, torch.zeros(2, 4, 4).long()), (ignored * 0, ignored * 0)):
        got = select_pixels(labels, predictions, num_classes=3, sampler=sampler, generator=generator)
        assert not got.any()


def test_every_pixel_is_wrong():
    labels = torch.zeros(1, 4, 4).long()
    got = select_pixels(labels, labels + 1, num_classes=2)
    assert int(got.sum()) == 8


def test_shares_are_rounded_up_exactly():
    counts = torch.arange(1000)
    for percent in ("10", "30", "7", "12.5", "33.33", "50", "100"):
        expected = [math.ceil(Fraction(percent) * n / 100) for n in range(1000)]
        assert share_of(counts, float(percent)).tolist() == expected


def test_error_map():
    labels = torch.tensor([[[0, 1, 255, 2]]])
    assert error_map(labels, torch.tensor([[[0, 2, 1, 1]]]), num_classes=3).tolist() == [[[-1, 1, -1, 2]]]
