"""What the tests of pixel contrast share: the method on a small network, scenes of two classes, the formula."""

import dataclasses
import math

import torch
from torch.nn import functional as F

from segbench.methods.pixel_contrast.method import build
from segbench.methods.pixel_contrast.options import Options

CLASSES = 4
ALL_PIXELS = {"max_anchors": 999, "max_views": 32, "min_pixels": 32}  # of two classes that halve a map of 8 x 8
RELEASED_MEMORY = {"form": "released", "keys": "memory", "max_views": 2, "min_pixels": 2}
PAPER = {"form": "paper", "keys": "memory", "anchors_per_class": 99}


def make(segmentor, *, aux=False, **options):
    torch.manual_seed(1)
    given = {
        "embedding_dim": 6,
        "starts_after_steps": 0,
        "base_temperature": 0.1,
        "weight": 1.0,
        "regions_per_class": 5,
        "pixels_per_class": 8,
        "pixels_per_image": 3,
        **options,
    }
    return build(Options(**given), segmentor(CLASSES, aux=aux), num_classes=CLASSES, seed=3)


def part(data, *places):
    rows = torch.tensor(places)
    return dataclasses.replace(data, images=data.images[rows], target=data.target[rows])


def embedded(method, data, *, align_corners=False):
    """Unit vectors (N, h, w, D) and labels of the embedded map, from the network's layers alone."""
    with torch.no_grad():
        layers = method.segmentor(data.images).layers
        size = layers[0].shape[-2:]
        resized = [F.interpolate(layer, size, mode="bilinear", align_corners=align_corners) for layer in layers]
        vectors = method.head.layers(torch.cat(resized, 1)).double().movedim(1, -1)
    stride = data.target.shape[-1] // size[1]
    return vectors / vectors.norm(dim=-1, keepdim=True), data.target[:, ::stride, ::stride]


def log_loss(scores, others):
    crowd = sum(math.exp(score) for score in others)
    terms = [-math.log(math.exp(score) / (math.exp(score) + crowd)) for score in scores]
    return sum(terms) / len(terms)


def slow_group(vectors, labels, tau=0.1):
    pixels = list(zip(vectors.flatten(0, 2), labels.flatten().tolist(), strict=True))
    losses = []
    for i, (anchor, label) in enumerate(pixels):
        scores = [(float(anchor @ other) / tau, c) for j, (other, c) in enumerate(pixels) if j != i]
        losses.append(log_loss([s for s, c in scores if c == label], [s for s, c in scores if c != label]))
    return sum(losses) / len(losses)


def filled_memory(method):
    """Random keys for some of the places."""
    memory = method.memory
    memory.keys.copy_(F.normalize(torch.randn_like(memory.keys), dim=1))
    memory.filled.copy_(torch.tensor([[5, 2, 0, 1], [8, 3, 0, 8]]))
    return memory.view().double(), memory.valid()
