import pytest
import torch
from torch.nn import functional as F

from segbench.losses.resize import resize_labels


@pytest.mark.parametrize(
    ("size", "to"), [((32, 64), (8, 16)), ((33, 47), (9, 12)), ((7, 5), (14, 20)), ((6, 6), (6, 6))]
)
def test_follows_the_floor_rule(size, to):
    labels = torch.randint(0, 256, (2, *size))
    expected = [
        [[int(image[i * size[0] // to[0], j * size[1] // to[1]]) for j in range(to[1])] for i in range(to[0])]
        for image in labels
    ]
    assert resize_labels(labels, to).tolist() == expected


@pytest.mark.parametrize("stride", [2, 4, 8, 32])
def test_agrees_with_torch_at_whole_strides(stride):
    labels = torch.randint(0, 256, (2, 96, 64))
    to = (96 // stride, 64 // stride)
    assert torch.equal(resize_labels(labels, to), F.interpolate(labels[:, None].float(), to).long()[:, 0])


def test_keeps_the_type():
    assert resize_labels(torch.zeros(1, 4, 4, dtype=torch.uint8), (2, 2)).dtype == torch.uint8
