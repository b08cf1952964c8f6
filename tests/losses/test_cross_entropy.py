import math

import pytest
import torch

from segbench.data.classes import class_table
from segbench.losses.class_weights import CLASS_WEIGHTS, resolve_class_weights
from segbench.losses.cross_entropy import cross_entropy


def slow(logits, target, weights):
    """sum(w nll) / sum(w), pixel by pixel."""
    total = mass = 0.0
    images, classes, height, width = logits.shape
    for n in range(images):
        for i in range(height):
            for j in range(width):
                label = int(target[n, i, j])
                if label != 255:
                    scores = [float(logits[n, c, i, j]) for c in range(classes)]
                    top = max(scores)
                    log_sum = top + math.log(sum(math.exp(score - top) for score in scores))
                    total += weights[label] * (log_sum - scores[label])
                    mass += weights[label]
    return total / mass


@pytest.mark.parametrize("weights", [None, (0.5, 2.0, 0.0, 1.25)])
def test_equals_the_loop(blobs, weights):
    target = blobs(0, size=(5, 7), sigma=1)
    logits = torch.randn(2, 4, 5, 7, dtype=torch.float64)
    tensor = None if weights is None else torch.tensor(weights)
    got = cross_entropy(logits, target, class_weights=tensor)
    assert got.item() == pytest.approx(slow(logits, target, weights or (1,) * 4), rel=1e-12)


def test_known_value():
    logits = torch.tensor([[[[0.0]], [[math.log(3.0)]]]])
    assert cross_entropy(logits, torch.tensor([[[0]]])).item() == pytest.approx(math.log(4))


@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 0.0])])
def test_nothing_labelled_gives_a_differentiable_zero(weights):
    logits = torch.randn(1, 2, 3, 3, requires_grad=True)
    loss = cross_entropy(logits, torch.full((1, 3, 3), 255), class_weights=weights)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_only_labels_of_weight_zero():
    loss = cross_entropy(torch.randn(1, 2, 3, 3), torch.ones(1, 3, 3).long(), class_weights=torch.tensor([1.0, 0.0]))
    assert loss.item() == 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_stays_finite_and_in_float32(dtype, scale):
    logits = (torch.tensor([[-1.0, 1.0], [1.0, -1.0]])[None, ..., None] * scale).to(dtype).requires_grad_()
    loss = cross_entropy(logits, torch.tensor([[[0], [0]]]))
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.isfinite()
    assert logits.grad.isfinite().all()


def test_ignored_pixels_change_nothing(blobs):
    target = blobs(1, size=(6, 6))
    logits = torch.randn(2, 4, 6, 6)
    changed = torch.where((target == 255)[:, None], torch.randn_like(logits) * 100, logits)
    assert cross_entropy(logits, target) == cross_entropy(changed, target)


def test_gradient(blobs):
    target = blobs(2, images=1, size=(3, 4), classes=3, sigma=1)
    logits = torch.randn(1, 3, 3, 4, dtype=torch.float64, requires_grad=True)
    weights = torch.tensor([1.0, 0.5, 2.0])
    assert torch.autograd.gradcheck(lambda x: cross_entropy(x, target, class_weights=weights), logits)


def test_refuses_logits_of_another_size():
    with pytest.raises(ValueError, match="does not fit"):
        cross_entropy(torch.zeros(1, 2, 4, 4), torch.zeros(1, 8, 8).long())


def test_published_weights():
    by_class = {
        "road": 0.8373, "sidewalk": 0.9180, "building": 0.8660, "wall": 1.0345, "fence": 1.0166, "pole": 0.9969,
        "traffic_light": 0.9754, "traffic_sign": 1.0489, "vegetation": 0.8786, "terrain": 1.0023, "sky": 0.9539,
        "person": 0.9843, "rider": 1.1116, "car": 0.9037, "truck": 1.0865, "bus": 1.0955, "train": 1.0865,
        "motorcycle": 1.1529, "bicycle": 1.0507,
    }  # fmt: skip
    assert dict(zip(class_table("cityscapes").slugs, CLASS_WEIGHTS["cityscapes"], strict=True)) == by_class
    assert sum(CLASS_WEIGHTS["cityscapes"]) / 19 == pytest.approx(1, abs=1e-4)  # their mean is 1
    assert resolve_class_weights((1.0, 2.0)) == (1.0, 2.0)
    with pytest.raises(ValueError, match="Known: cityscapes"):
        resolve_class_weights("cityscape")
