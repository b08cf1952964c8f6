"""Exact squared Euclidean distance transforms of label images, batched and on the device.

A distance transform per class mask would need as many transforms as classes. But pixels of a class are their own
mask and everything else is background, so one transform of the label image gives all of them: along columns the
distance to the nearest change of label, then along rows a minimum over parabolas.
"""

import torch
from torch import Tensor

FAR = 2**30  # squared distance when there is nothing to be near to; FAR + (image side)**2 fits int32
_DENSE_ELEMENTS = 2**26
_OFFSETS_AT_ONCE = 8


def squared_distance_to_other(groups: Tensor) -> Tensor:
    """Return the squared distance of every pixel to the nearest pixel of another group; the border is no background.

    For a pixel of group g this equals a Euclidean distance transform of the mask ``groups == g``.

    Args:
        groups: (N, h, w), any integer type; negative where there is no group. h, w <= 16,000.

    Returns:
        (N, h, w) int32, exact; ``FAR`` where the image holds one group only; 0 where there is no group.
    """
    vertical, horizontal = _to_change(groups, 1), _to_change(groups, 2)
    # Across a change of label a parabola only promises more than the distance to that change, which
    # ``horizontal`` already holds: no parabola has to be masked.
    vertical = _square(vertical)
    bound = torch.where(groups >= 0, torch.minimum(vertical, _square(horizontal)), 0)
    return _under_parabolas(vertical, bound)


def squared_distance_to_edge(groups: Tensor) -> Tensor:
    """Return the squared distance of every pixel to the nearest edge pixel of its own group, 0 for edge pixels.

    Edge pixels are those with one of their four neighbours in another group; the image border makes no edge.
    Edges of other groups need no mask: the straight line to one of them leaves the pixel's own group, and the last
    pixel of its own group on that line is an edge pixel and nearer.

    Args and returns as in `squared_distance_to_other`.
    """
    edges = torch.zeros_like(groups, dtype=torch.bool)
    below, beside = groups[:, 1:] != groups[:, :-1], groups[:, :, 1:] != groups[:, :, :-1]
    edges[:, 1:] |= below
    edges[:, :-1] |= below
    edges[:, :, 1:] |= beside
    edges[:, :, :-1] |= beside
    index = torch.arange(groups.shape[1], dtype=torch.int32, device=groups.device)[:, None]
    vertical = _square(torch.minimum(index - _last_mark(edges, 1), _next_mark(edges, 1) - index))
    return _under_parabolas(vertical, torch.where(groups >= 0, vertical, 0))


def _to_change(groups: Tensor, dim: int) -> Tensor:
    """Return the distance along ``dim`` to the nearest pixel of another group; large if there is none."""
    length = groups.shape[dim]
    marks = torch.zeros_like(groups, dtype=torch.bool)  # first pixels of runs, the border excepted
    changes = groups.narrow(dim, 1, length - 1) != groups.narrow(dim, 0, length - 1)
    marks.narrow(dim, 1, length - 1).copy_(changes)
    index = _index(marks, dim)
    before = index - _last_mark(marks, dim) + 1
    after = torch.full_like(before, FAR)
    if length > 1:
        after.narrow(dim, 0, length - 1).copy_((_next_mark(marks, dim) - index + 1).narrow(dim, 1, length - 1))
    return torch.minimum(before, after)


def _index(marks: Tensor, dim: int) -> Tensor:
    shape = [1, 1, 1]
    shape[dim] = marks.shape[dim]
    return torch.arange(marks.shape[dim], dtype=torch.int32, device=marks.device).view(shape)


def _last_mark(marks: Tensor, dim: int) -> Tensor:
    """Return the index along ``dim`` of the last mark up to here, int32; far below zero before the first one."""
    return torch.where(marks, _index(marks, dim), -FAR).cummax(dim).values


def _next_mark(marks: Tensor, dim: int) -> Tensor:
    """Return the index along ``dim`` of the first mark from here on, int32; far above the size after the last one."""
    return torch.where(marks, _index(marks, dim), FAR).flip(dim).cummin(dim).values.flip(dim)


def _square(distance: Tensor) -> Tensor:
    """Square int32 distances; ``FAR`` for those that stand for "none"."""
    return torch.where(distance < 2**15, distance.clamp(max=2**15) ** 2, FAR).clamp(max=FAR)


def _under_parabolas(heights: Tensor, bound: Tensor) -> Tensor:
    """Return the minimum of ``bound[..., i]`` and all ``heights[..., j] + (i - j)**2``, along the last dimension."""
    if heights.device.type == "cpu":
        return _by_offsets(heights, bound)
    return _dense(heights, bound)


def _by_offsets(heights: Tensor, bound: Tensor) -> Tensor:
    """Try one offset after the other, as long as the largest bound can still be lowered.

    Reading that value costs nothing on a CPU; on an accelerator it would stall the queue, see `_dense`.
    """
    lowest = bound.clone()
    width = heights.shape[-1]
    offset = 1
    while offset < width and offset**2 < int(lowest.max()):
        for step in range(offset, min(offset + _OFFSETS_AT_ONCE, width)):
            raised = heights + step**2
            torch.minimum(lowest[..., step:], raised[..., :-step], out=lowest[..., step:])
            torch.minimum(lowest[..., :-step], raised[..., step:], out=lowest[..., :-step])
        offset += _OFFSETS_AT_ONCE
    return lowest


def _dense(heights: Tensor, bound: Tensor) -> Tensor:
    """Compare all pairs of a row at once, as many rows at a time as memory allows, without reading any value."""
    width = heights.shape[-1]
    index = torch.arange(width, dtype=torch.int32, device=heights.device)
    parabolas = (index[:, None] - index) ** 2
    rows = heights.reshape(-1, 1, width)
    chunks = rows.split(max(1, _DENSE_ELEMENTS // width**2))
    lowest = torch.cat([(chunk + parabolas).amin(-1) for chunk in chunks])
    return torch.minimum(lowest.view_as(heights), bound)
