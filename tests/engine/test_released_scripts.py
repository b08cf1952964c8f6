"""Rows of other papers are scored as their released scripts do it: these, written out, against the shipped protocol.

Windows and strides are a 28th as large, and the picture is smaller than a window at the smallest scale; every other
field is the recipe's. The network here resizes as OpenCV does, so that it makes no difference who enlarges its scores.
"""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from segbench.core.spec import EvaluationSpec
from segbench.engine.predict import predict
from segbench.engine.runtime import Runtime
from segbench.recipe.catalog import default_catalog
from segbench.recipe.resolve import Request, resolve
from tests.engine.test_evaluate import INPUT, NUMBER, Array, Net, normalised, resized, softmax

SIZE = (36, 72)  # sides of odd length at some of the scales
TABLE = "contrastiveseg-table1"
SIX = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)


class Votes(Net):
    """The same numbers, to be added as they are."""

    votes = True


def published(row: str, *, window: int, stride: int) -> EvaluationSpec:
    """A row's protocol with windows of another size."""
    found = resolve(default_catalog(), TABLE, row, "cityscapes", Request("full")).published.evaluation
    assert found is not None and found.mode == "slide" and found.flip
    (side, _), (step, _) = found.window or (0, 0), found.stride or (0, 0)
    assert (found.window, found.stride) == ((side, side), (step, step))
    assert math.ceil(side / 28) == window and step == math.ceil(side * 2 / 3) and stride == math.ceil(window * 2 / 3)
    return found.model_copy(update={"window": (window, window), "stride": (stride, stride)})


def answer(net: Net, view: Array) -> Array:
    """Scores (C, h, w) of one window at its own size."""
    with torch.inference_mode():
        logits = net(torch.from_numpy(view[None].astype(np.float32).copy())).logits[0].double().numpy()
    return resized(logits, view.shape[1:])


def filled(view: Array, window: int) -> Array:
    """Zeros below and at the right of what is smaller than a window."""
    missing = [max(0, window - side) for side in view.shape[1:]]
    return np.pad(view, ((0, 0), (0, missing[0]), (0, missing[1])))


def spread(length: int, window: int, stride: int) -> list[int]:
    count = math.ceil((length - window) / stride) + 1
    return [int(end) - window for end in np.linspace(window, length, count, dtype=np.int32)]


def clipped(length: int, window: int, stride: int) -> list[int]:
    count = math.ceil((length - window) / stride) + 1
    return [min(number * stride, length - window) for number in range(count)]


def over_windows(
    view: Array, of: Callable[[Array], Array], starts: Callable[..., list[int]], *, window: int, stride: int, mean: bool
) -> Array:
    full = filled(view, window)
    total, times = np.zeros((NUMBER, *full.shape[1:])), np.zeros(full.shape[1:])
    for top in starts(full.shape[1], window, stride):
        for left in starts(full.shape[2], window, stride):
            place = (slice(top, top + window), slice(left, left + window))
            total[:, *place] += of(full[:, *place])
            times[place] += 1
    total = total / times if mean else total
    return total[:, : view.shape[1], : view.shape[2]]


def views(image: Array, scales: tuple[float, ...]) -> list[tuple[Array, bool]]:
    """Of every scale the picture and its mirror, and which of them it is."""
    found = []
    for scale in scales:
        view = resized(normalised(image), (int(SIZE[0] * scale), int(SIZE[1] * scale)))
        found += [(view, False), (view[..., ::-1], True)]
    return found


def fused(image: Array, scales: tuple[float, ...], scored: Callable[[Array], Array]) -> Array:
    """Sum over scales and mirrors of scores at the picture's size."""
    total = np.zeros((NUMBER, *SIZE))
    for view, mirrored in views(image, scales):
        scores = resized(scored(view), SIZE)
        total += scores[..., ::-1] if mirrored else scores
    return total


def aaf(net: Net, image: Array) -> Array:
    """inference_msc.py: probabilities of each window, averaged where windows overlap."""

    def scored(view: Array) -> Array:
        return over_windows(view, lambda part: softmax(answer(net, part)), spread, window=26, stride=18, mean=True)

    return fused(image, SIX, scored)


def segsort(net: Net, image: Array) -> Array:
    """inference_segsort_msc.py: votes of all windows, added."""

    def scored(view: Array) -> Array:
        return over_windows(view, lambda part: answer(net, part), spread, window=26, stride=18, mean=False)

    return fused(image, SIX, scored)


def pspnet(net: Net, image: Array) -> Array:
    """caffe_process.m, scale_process.m: soft-max of the sum of the logits of a window and its mirror."""

    def both(part: Array) -> Array:
        return softmax(answer(net, part) + answer(net, part[..., ::-1])[..., ::-1])

    return over_windows(normalised(image), both, clipped, window=26, stride=18, mean=True)


def acf(net: Net, image: Array) -> Array:
    """evaluate.py: the mean of the logits."""

    def scored(view: Array) -> Array:
        return over_windows(view, lambda part: answer(net, part), clipped, window=28, stride=19, mean=True)

    return fused(image, (0.75, 1.0, 1.25, 1.5, 1.75, 2.0), scored)


@pytest.mark.parametrize(
    ("row", "window", "script", "kind"),
    [
        ("aaf", 26, aaf, Net),
        ("segsort", 26, segsort, Votes),
        ("pspnet-r101", 26, pspnet, Net),
        ("acf-r101", 28, acf, Net),
    ],
)
def test_rows_are_scored_as_their_scripts_do_it(
    row: str, window: int, script: Callable[[Net, Array], Array], kind: type[Net]
) -> None:
    torch.manual_seed(1)
    net = kind(gain=3.0).eval()
    spec = published(row, window=window, stride=math.ceil(window * 2 / 3))
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (SIZE[0] // 4, SIZE[1] // 4, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
    given = torch.from_numpy(image).permute(2, 0, 1)[None]
    found = predict(net, given, spec, input=INPUT, size=SIZE, runtime=Runtime())[0].numpy()
    expected = script(net, image)
    best = np.sort(expected, 0)
    clear = best[-1] - best[-2] > 1e-5 * np.abs(best[-1])
    assert clear.mean() > 0.999 and len(np.unique(expected.argmax(0))) == NUMBER
    assert (found == expected.argmax(0))[clear].all()
