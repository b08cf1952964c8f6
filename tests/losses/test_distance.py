import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt

from segbench.losses import distance
from segbench.losses.distance import FAR, squared_distance_to_edge, squared_distance_to_other

SIZES = [(1, 1), (1, 9), (9, 1), (2, 2), (7, 13), (32, 31), (40, 64)]


@pytest.fixture(params=["offsets", "dense"])
def horizontal_pass(request, monkeypatch):
    """Both ways to take the minimum over parabolas: the one for CPUs and the one for accelerators."""
    if request.param == "dense":
        monkeypatch.setattr(distance, "_by_offsets", distance._dense)
        monkeypatch.setattr(distance, "_DENSE_ELEMENTS", 2000)  # several chunks


def groups_of(blobs, seed, size):
    labels = blobs(seed, size=size, classes=2 + seed % 4, ignored=0.3, sigma=0.5 + seed % 3)
    return torch.where(labels == 255, -1, labels)


def oracle(groups):
    """SciPy's transform of each group's mask, image by image."""
    result = np.zeros(groups.shape, dtype=np.int64)
    for image, out in zip(groups.numpy(), result, strict=True):
        for group in set(image.ravel()) - {-1}:
            mask = image == group
            values = np.full(mask.shape, FAR) if mask.all() else np.rint(distance_transform_edt(mask) ** 2)
            out[mask] = values[mask]
    return torch.from_numpy(result)


@pytest.mark.usefixtures("horizontal_pass")
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("seed", range(6))
def test_distance_to_other_equals_scipy(blobs, seed, size):
    groups = groups_of(blobs, seed, size)
    assert torch.equal(squared_distance_to_other(groups).long(), oracle(groups))


@pytest.mark.usefixtures("horizontal_pass")
@pytest.mark.parametrize("density", [0.001, 0.01])
def test_far_reaching_distances(density):
    groups = -(torch.rand(2, 60, 90, generator=torch.Generator().manual_seed(3)) < density).long()
    groups[1] = 0  # nothing else in this image
    got = squared_distance_to_other(groups)
    assert torch.equal(got.long(), oracle(groups))
    assert (got[1] == FAR).all()


@pytest.mark.usefixtures("horizontal_pass")
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("seed", range(6))
def test_distance_to_edge_equals_the_formula(blobs, seed, size):
    """Each group on its own: its edge pixels, then all distances between them and its pixels."""
    groups = groups_of(blobs, seed, size)
    expected = torch.zeros(groups.shape, dtype=torch.int64)
    for image, out in zip(groups, expected, strict=True):
        for group in set(image.flatten().tolist()) - {-1}:
            inside = {(int(i), int(j)) for i, j in (image == group).nonzero()}
            edge = [
                (i, j)
                for i, j in inside
                for row, column in ((i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1))
                if (row, column) not in inside and 0 <= row < size[0] and 0 <= column < size[1]
            ]
            pixels = torch.tensor(sorted(inside))
            if edge:
                values = ((pixels[:, None] - torch.tensor(edge)) ** 2).sum(-1).amin(1)
            else:
                values = torch.full((len(pixels),), FAR)
            out[pixels[:, 0], pixels[:, 1]] = values
    assert torch.equal(squared_distance_to_edge(groups).long(), expected)


def test_nothing_in_any_group():
    groups = torch.full((1, 3, 4), -1)
    assert not squared_distance_to_other(groups).any()
    assert not squared_distance_to_edge(groups).any()


def test_the_border_is_no_background():
    groups = torch.zeros(1, 1, 4).long()
    groups[0, 0, 3] = -1
    assert squared_distance_to_other(groups).tolist() == [[[9, 4, 1, 0]]]
    assert squared_distance_to_edge(groups).tolist() == [[[4, 1, 0, 0]]]


def test_the_names_of_groups_do_not_matter(blobs):
    groups = groups_of(blobs, 3, (20, 30))
    renamed = torch.where(groups < 0, groups, 40 - groups)
    assert torch.equal(squared_distance_to_other(groups), squared_distance_to_other(renamed))


@pytest.mark.parametrize("function", [squared_distance_to_other, squared_distance_to_edge])
def test_images_and_axes_are_independent(blobs, function):
    groups = groups_of(blobs, 5, (20, 30))
    whole = function(groups)
    assert torch.equal(whole[1:], function(groups[1:]))
    assert torch.equal(whole, function(groups.flip(1)).flip(1))
    assert torch.equal(whole, function(groups.transpose(1, 2)).transpose(1, 2))
