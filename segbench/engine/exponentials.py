"""Sum of the exponentials of logits over scales, in log space so that nothing overflows.

As the multi-scale evaluation of HRNet's code does it, which that of Pissas et al. follows: an image's logits and those
of its mirror image are averaged, their exponential is resized bilinearly, and scales are added up.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from segbench.core.spec import Size


def log_sum(views: Iterator[tuple[Tensor, bool]], size: Size, *, align_corners: bool) -> Tensor:
    """Return the logarithm (1, C, h, w) of the sum over scales.

    Args:
        views: logits (1, C, H, W) float32 at the size of the network's input, and whether they are mirrored; a mirrored
            view follows its original.
        size: (h, w) of the result.
        align_corners: convention of the resizing.
    """
    total: Tensor | None = None
    for logits in _scales(views):
        powers = resize_powers(logits, size, align_corners=align_corners)
        total = powers if total is None else torch.logaddexp(total, powers)
    assert total is not None
    return total


def resize_powers(logits: Tensor, size: Size, *, align_corners: bool) -> Tensor:
    """Resize the exponentials of (N, C, H, W) logits bilinearly to (h, w) and return their logarithm."""
    for side, length in zip((2, 3), size, strict=True):
        logits = _blended(logits, side, length, align_corners=align_corners)
    return logits


def _scales(views: Iterator[tuple[Tensor, bool]]) -> Iterator[Tensor]:
    """Yield the logits of each scale, averaged with those of the mirrored view."""
    last: Tensor | None = None
    for scores, mirrored in views:
        if mirrored:
            assert last is not None
            last = (last + scores.flip(-1)) / 2
            continue
        if last is not None:
            yield last
        last = scores
    if last is not None:
        yield last


def _blended(logits: Tensor, side: int, length: int, *, align_corners: bool) -> Tensor:
    """Resample the exponentials linearly along a side, without anti-aliasing."""
    before = logits.shape[side]
    if before == length:
        return logits
    places = torch.arange(length, device=logits.device, dtype=torch.float32)
    if align_corners:
        centres = places * ((before - 1) / max(1, length - 1))
    else:
        centres = ((places + 0.5) * (before / length) - 0.5).clamp(min=0)
    first = centres.long().clamp(max=before - 1)
    second = (first + 1).clamp(max=before - 1)
    share = (centres - first).clamp(max=1 - 1e-7).view([-1 if dim == side else 1 for dim in range(4)])
    return torch.logaddexp(
        logits.index_select(side, first) + torch.log1p(-share), logits.index_select(side, second) + share.log()
    )
