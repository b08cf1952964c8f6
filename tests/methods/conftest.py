import dataclasses

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn
from torch.nn import functional as F

from segbench.data.batch import Batch
from segbench.models.segmentor import SegmentorOutput

CHANNELS = (6, 8, 10, 12)


class FakeSegmentor(nn.Module):
    """The smallest network with the interface of a segmentor: strided convolutions and a linear classifier."""

    def __init__(self, num_classes: int, *, aux: bool = False) -> None:
        super().__init__()
        self.num_classes, self.align_corners = num_classes, False
        self.layer_channels, self.layer_strides, self.embedding_channels = CHANNELS, (4, 8, 16, 32), CHANNELS[0]
        inputs, strides = (3, *CHANNELS[:-1]), (4, 2, 2, 2)
        self.layers = nn.ModuleList(nn.Conv2d(*pair, s, s) for *pair, s in zip(inputs, CHANNELS, strides, strict=True))
        self.classifier = nn.Conv2d(CHANNELS[0], num_classes, 1)
        self.side = nn.Conv2d(CHANNELS[1], num_classes, 1) if aux else None

    def forward(self, images: Tensor, rows: Tensor | None = None) -> SegmentorOutput:
        found, features = [], images
        for layer in self.layers:
            features = layer(features).relu()
            found.append(features)
        logits = self.classifier(found[0])
        side = {} if self.side is None else {"side": self.side(found[1])}
        # The deepest layers take part in the logits, as in a real network.
        return SegmentorOutput(logits + found[3].mean(), tuple(found), found[0], side)

    def resize(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        return F.interpolate(logits.float(), size, mode="bilinear", align_corners=self.align_corners)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture
def segmentor():
    """A function that makes a fake segmentor."""
    return FakeSegmentor


@pytest.fixture
def batch():
    """A function that makes a batch of noise images with smooth labels, a fifth of them ignored."""

    def make(num_classes=5, *, images=2, size=(64, 96), seed=0):
        rng = np.random.default_rng(seed)
        fields = gaussian_filter(rng.normal(size=(images, num_classes, *size)), (0, 0, 6, 6))
        ignored = gaussian_filter(rng.normal(size=(images, *size)), (0, 5, 5))
        labels = np.where(ignored < np.quantile(ignored, 0.2), 255, fields.argmax(1))
        pictures = rng.normal(size=(images, 3, *size)).astype(np.float32)
        return Batch(torch.from_numpy(pictures), torch.from_numpy(labels))

    return make


@pytest.fixture
def halves(batch):
    """Images of 32 x 32 with two classes, left and right."""
    data = batch(4, images=4, size=(32, 32))
    target = torch.zeros_like(data.target)
    for image, (left, right) in enumerate(((0, 1), (2, 1), (1, 3), (3, 0))):
        target[image, :, :16], target[image, :, 16:] = left, right
    return dataclasses.replace(data, target=target)
