"""Tensors without values: code that looks at one, or whose shapes depend on one, fails on them.

What passes here never makes an accelerator's queue wait.
"""

import pytest
import torch

from segbench.losses.bane import select_pixels
from segbench.losses.cross_entropy import cross_entropy
from segbench.losses.multi_cross_scale import draw_samples, scale_contrast
from segbench.losses.pixel_anchor import (
    class_means,
    draw_positives,
    finish_anchors,
    negative_masks,
    pixel_anchor_loss,
    share_anchors,
    unit_vectors,
)
from segbench.losses.resize import resize_labels


@pytest.fixture
def labels():
    return torch.zeros(2, 8, 12, dtype=torch.int64, device="meta")


@pytest.fixture
def embeddings():
    return torch.zeros(2, 6, 8, 12, device="meta", requires_grad=True)


def test_the_device_would_have_noticed(labels):
    with pytest.raises((RuntimeError, NotImplementedError)):
        labels[labels > 0]
    with pytest.raises((RuntimeError, NotImplementedError)):
        labels.max().item()


def test_cross_entropy(labels):
    logits = torch.zeros(2, 5, 8, 12, device="meta", requires_grad=True)
    cross_entropy(logits, labels, class_weights=torch.ones(5, device="meta")).backward()


@pytest.mark.parametrize("sampler", ["bane", "semi_hard", "random"])
@pytest.mark.parametrize("distance", ["edt", "edge"])
@pytest.mark.parametrize("percentile", ["image", "batch"])
def test_sampling(labels, sampler, distance, percentile):
    got = select_pixels(labels, labels, num_classes=5, sampler=sampler, distance=distance, percentile=percentile)
    assert got.shape == labels.shape


@pytest.mark.parametrize("role", ["union", "fp_only", "literal"])
def test_pixel_anchor_loss(labels, embeddings, role):
    pixels = unit_vectors(embeddings)
    means = class_means(pixels, labels, num_classes=5)
    anchors = finish_anchors(share_anchors(means, means, weights=(0.5, 0.5)))
    negatives = negative_masks(labels > 0, labels, labels, num_classes=5, role=role)
    positives = draw_positives(labels, 10, num_classes=5)
    pixel_anchor_loss(pixels, labels, anchors, negatives, positives=positives).backward()


def test_multi_and_cross_scale(labels, embeddings):
    fine = draw_samples(embeddings, labels, num_classes=5, per_scale=50)
    coarse = draw_samples(embeddings[..., ::2, ::2], resize_labels(labels, (4, 6)), num_classes=5)
    loss = scale_contrast(fine, fine, within=True, chunk=20) + scale_contrast(fine, coarse, within=False)
    loss.backward()
