"""Tensors without values: code that looks at one, or whose shapes depend on one, fails on them.

What passes here never makes an accelerator's queue wait.
"""

from functools import partial

import pytest
import torch

from segbench.losses.aaf import affinity_loss, field_sums
from segbench.losses.bane import select_pixels
from segbench.losses.bank_contrast import contrast_with_all, draw_candidates, semi_hard_contrast
from segbench.losses.cross_entropy import cross_entropy
from segbench.losses.hard_pixels import hard_cross_entropy
from segbench.losses.key_bank import KeyBank, ReleasedBank, keys_of_images
from segbench.losses.lovasz import lovasz_softmax
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
from segbench.losses.pixel_contrast import contrast_within, draw_anchors, draw_views, unit_vectors_at
from segbench.losses.resize import resize_labels
from segbench.losses.rmi import binary_cross_entropy, region_mutual_information


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
    weights = torch.ones(5, device="meta")
    cross_entropy(logits, labels, class_weights=weights).backward()
    hard_cross_entropy(logits, labels, threshold=0.7, min_pixels=9, class_weights=weights).backward()


def test_losses_beside_it(labels):
    logits = torch.zeros(2, 5, 8, 12, device="meta", requires_grad=True)
    weights = torch.ones(5, 2, device="meta")
    fields = [field_sums(logits, labels, side=side) for side in (3, 7)]
    losses = [
        *affinity_loss(fields, edge_weights=weights, non_edge_weights=weights),
        binary_cross_entropy(logits, labels),
        region_mutual_information(logits, labels, pool="max", pool_size=3, side=2),
        region_mutual_information(logits, labels, pool="mean", pool_size=1),
        lovasz_softmax(logits, labels),
        lovasz_softmax(logits, labels, classes="all"),
    ]
    torch.stack(losses).sum().backward()


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


def test_pixel_contrast(labels, embeddings):
    for drawn in (
        draw_views(labels, labels, num_classes=5, max_views=20, min_pixels=21),
        draw_anchors(labels, labels, num_classes=5, per_class=7),
    ):
        features = unit_vectors_at(embeddings, drawn.places)
        contrast_within(features, drawn.labels, drawn.valid).mean().backward()


@pytest.mark.parametrize("kind", [KeyBank, partial(ReleasedBank, noise=False, zero_class=True, one_step=True)])
def test_pixel_contrast_with_a_memory(labels, embeddings, kind):
    with torch.device("meta"):
        memory = kind(5, 6, regions=30, pixels=40)
    memory.push(keys_of_images(embeddings, labels, num_classes=5))
    memory.push(keys_of_images(embeddings, labels, num_classes=5, from_first=True))
    keys, filled = memory.view(), memory.valid()
    drawn = draw_anchors(labels, labels, num_classes=5, per_class=7)
    features = unit_vectors_at(embeddings, drawn.places)
    contrast_with_all(features, drawn.labels, drawn.valid, keys, filled, chunk=9).mean().backward()
    candidates = draw_candidates(keys, filled, positives=2, negatives=3)
    features = unit_vectors_at(embeddings, drawn.places).view(5, 7, -1)
    semi_hard_contrast(features, drawn.valid.view(5, 7), candidates).mean().backward()
