import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture
def blobs():
    """A function that makes smooth random label maps (N, h, w), a share of each image being ignored (255)."""

    def make(seed, *, images=2, size=(17, 23), classes=4, ignored=0.2, sigma=2.0):
        rng = np.random.default_rng(seed)
        maps = []
        for _ in range(images):
            fields = [gaussian_filter(rng.normal(size=size), sigma) for _ in range(classes)]
            labels = np.argmax(fields, 0)
            field = gaussian_filter(rng.normal(size=size), sigma)
            labels[field < np.quantile(field, ignored)] = 255
            maps.append(labels)
        return torch.from_numpy(np.stack(maps))

    return make
