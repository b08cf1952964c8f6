"""Sizes that projects show their networks, windows averaged as probabilities, mirrored windows: against slow loops."""

import itertools
import math
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from pydantic import ValidationError

from segbench.core.spec import EvaluationSpec, PadSpec
from segbench.engine import predict as module
from segbench.engine.predict import seen_size
from segbench.engine.runtime import Runtime
from segbench.engine.windows import starts
from segbench.models.segmentor import SegmentorOutput
from tests.engine.test_evaluate import Array, Net, Pictures, counted, normalised, resized, run, softmax, spec


class Sized(Net):
    """Remembers the sizes that it was shown, and on what number of images at once."""

    def __init__(self, **how: Any) -> None:
        super().__init__(**how)
        self.seen: list[tuple[int, ...]] = []

    def forward(self, images: torch.Tensor) -> SegmentorOutput:
        self.seen.append((len(images), *images.shape[-2:]))
        return super().forward(images)


@pytest.fixture
def net() -> Sized:
    torch.manual_seed(1)
    return Sized()


@pytest.fixture
def pictures() -> Pictures:
    return Pictures([(40, 56), (64, 48)])


def logits_of(net: Net, view: Array) -> Array:
    with torch.inference_mode():
        return net(torch.from_numpy(view.astype(np.float32)[None])).logits[0].double().numpy()


def padded(view: Array, size: tuple[int, int], where: str) -> tuple[Array, int, int]:
    """Zeros after normalising, and where the picture begins."""
    height, width = view.shape[1:]
    top, left = ((size[0] - height) // 2, (size[1] - width) // 2) if where == "both" else (0, 0)
    full = np.zeros((len(view), *size))
    full[:, top : top + height, left : left + width] = view
    return full, top, left


def windowed(net: Net, view: Array, protocol: EvaluationSpec) -> Array:
    """Scores of a view by windows, every window as its protocol says."""
    assert protocol.window is not None
    stride = protocol.stride or protocol.window
    height, width = view.shape[1:]
    rows, columns = min(protocol.window[0], height), min(protocol.window[1], width)
    total, times = np.zeros((5, height, width)), np.zeros((height, width))
    tops, lefts = (
        begins(*side, placing=protocol.placing) for side in zip((height, width), (rows, columns), stride, strict=True)
    )
    for top in tops:
        for left in lefts:
            part = view[:, top : top + rows, left : left + columns]
            mirrors = (False, True) if protocol.flip and protocol.mirror == "window" else (False,)
            answers = []
            for mirrored in mirrors:
                scores = resized(logits_of(net, part[..., ::-1].copy() if mirrored else part), (rows, columns))
                answers.append(scores[..., ::-1] if mirrored else scores)
            if protocol.mirrored == "logits":
                answers = [sum(answers)]
            for scores in answers:
                scores = softmax(scores) if protocol.overlap == "probabilities" else scores
                total[:, top : top + rows, left : left + columns] += scores
                times[top : top + rows, left : left + columns] += 1
    return total if protocol.overlap == "sum" else total / times


def begins(length: int, window: int, stride: int, *, placing: str) -> list[int]:
    """Where windows begin; evenly as the released scripts of AAF and SegSort have it, which spread their ends."""
    count = math.ceil((length - window) / stride) + 1
    if placing == "even":
        return [int(end) - window for end in np.linspace(window, length, count, dtype=np.int32)]
    return [min(place * stride, length - window) for place in range(count)]


def slow(net: Net, image: Array, protocol: EvaluationSpec) -> Array:
    """Labels (H, W) by the definition of every field, written out."""
    size = image.shape[:2]
    total = np.zeros((5, *size))
    for scale in protocol.scales:
        height, width = round(size[0] * scale), round(size[1] * scale)
        if protocol.short_side is not None:
            factor = protocol.short_side * scale / min(size)
            if protocol.max_side is not None:
                factor = min(factor, protocol.max_side * scale / max(size))
            height, width = math.floor(size[0] * factor + 0.5), math.floor(size[1] * factor + 0.5)
        if protocol.multiple_of is not None:
            height += -height % protocol.multiple_of
            width += -width % protocol.multiple_of
        view = resized(normalised(image), (height, width))
        full = (height, width)
        if protocol.pad is not None:
            if protocol.pad.to_window and protocol.window is not None:
                full = (max(height, protocol.window[0]), max(width, protocol.window[1]))
            while (
                protocol.mode == "whole"
                and full[0] % protocol.pad.multiple != protocol.pad.plus % protocol.pad.multiple
            ):
                full = (full[0] + 1, full[1])
            while (
                protocol.mode == "whole"
                and full[1] % protocol.pad.multiple != protocol.pad.plus % protocol.pad.multiple
            ):
                full = (full[0], full[1] + 1)
        where = protocol.pad.where if protocol.pad else "end"
        for flip in (False, True) if protocol.flip and protocol.mirror == "image" else (False,):
            shown, top, left = padded(view[..., ::-1] if flip else view, full, where)
            if protocol.mode == "whole" and protocol.enlarge == "once" and full == (height, width):
                scores = resized(logits_of(net, shown), size)
            else:
                slides = protocol.mode == "slide"
                scores = windowed(net, shown, protocol) if slides else resized(logits_of(net, shown), full)
                scores = resized(scores[:, top : top + height, left : left + width], size)
            scores = scores[..., ::-1] if flip else scores
            if protocol.fuse == "probabilities" and protocol.overlap == "logits":
                scores = softmax(scores)
            total += scores
    return total


def check(net: Net, pictures: Pictures, **fields: Any) -> None:
    """Engine against slow loop, with no two classes all but equal anywhere."""
    protocol = spec(**fields)
    scores = [slow(net, image, protocol) for image, _ in pictures.samples]
    for score in scores:
        best = np.sort(score, 0)
        assert (best[-1] - best[-2] > 1e-6 * np.abs(best[-1])).all(), "the case is ambiguous; take another seed"
    labels = [label for _, label in pictures.samples]
    found = run(net, pictures, protocol).matrix
    assert found.tolist() == counted(labels, [score.argmax(0) for score in scores]).tolist()


@pytest.mark.parametrize(
    ("fields", "seen"),
    [
        ({"short_side": 30}, [(1, 30, 42), (1, 40, 30)]),
        ({"short_side": 30, "max_side": 36}, [(1, 26, 36), (1, 36, 27)]),
        ({"short_side": 30, "max_side": 36, "multiple_of": 8}, [(1, 32, 40), (1, 40, 32)]),
        ({"short_side": 30, "enlarge": "twice"}, [(1, 30, 42), (1, 40, 30)]),
        ({"multiple_of": 32}, [(1, 64, 64), (1, 64, 64)]),
        ({"pad": {"multiple": 8, "plus": 1}}, [(1, 41, 57), (1, 65, 49)]),
        ({"pad": {"multiple": 32, "where": "both"}}, [(1, 64, 64), (1, 64, 64)]),
    ],
)
def test_images_are_shown_at_the_size_that_their_project_shows_them(
    fields: dict[str, Any], seen: list[tuple[int, ...]], net: Sized, pictures: Pictures
) -> None:
    run(net, pictures, spec(**fields))
    assert net.seen == seen
    assert [seen_size(image.shape[:2], spec(**fields)) for image, _ in pictures.samples] == [size[1:] for size in seen]
    check(net, pictures, **fields)
    check(net, pictures, **fields, scales=(0.5, 1.0, 1.25), flip=True)


def test_the_long_side_is_mmcvs(net: Sized) -> None:
    """Sizes as ``rescale_size`` has them: the smaller of both factors, rounded half up."""
    for height, width in ((683, 512), (512, 683), (300, 1500), (427, 640), (333, 500)):
        factor = min(2048 / max(height, width), 512 / min(height, width))
        expected = (int(height * factor + 0.5), int(width * factor + 0.5))
        assert seen_size((height, width), spec(short_side=512, max_side=2048)) == expected


def test_resizing_is_opencvs_bilinear(net: Sized) -> None:
    """What projects do to bytes with OpenCV, done to numbers: equal but for its rounding to bytes."""
    (image, _) = Pictures([(40, 56)]).samples[0]
    theirs = normalised(cv2.resize(image, (42, 30), interpolation=cv2.INTER_LINEAR))
    shown: list[torch.Tensor] = []

    class Keeps(Net):
        def forward(self, images: torch.Tensor) -> SegmentorOutput:
            shown.append(images)
            return super().forward(images)

    run(Keeps(), Pictures([(40, 56)]), spec(short_side=30))
    assert np.abs(shown[0][0].numpy() - theirs).max() < 0.6 / 255 / 0.224


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(
    "fields",
    [
        {"overlap": "probabilities"},
        {"overlap": "probabilities", "mirror": "window"},
        {"mirror": "window"},
        {"overlap": "probabilities", "scales": (0.5, 1.0), "pad": {"to_window": True, "where": "both"}},
        {"overlap": "probabilities", "mirror": "window", "scales": (0.5, 1.5), "pad": {"to_window": True}},
        {"overlap": "probabilities", "mirror": "window", "mirrored": "logits"},
        {"overlap": "probabilities", "mirror": "window", "mirrored": "logits", "scales": (0.5, 1.5),
         "pad": {"to_window": True}},
        {"placing": "even"},
        {"placing": "even", "overlap": "probabilities", "scales": (0.5, 1.0), "pad": {"to_window": True}},
        {"placing": "even", "overlap": "sum", "fuse": "logits", "scales": (0.5, 1.0, 1.25)},
        {"overlap": "sum", "fuse": "logits", "mirror": "window"},
    ],
)  # fmt: skip
def test_windows(fields: dict[str, Any], flip: bool, net: Sized, pictures: Pictures) -> None:
    net.gain = 3.0
    check(net, pictures, mode="slide", window=(33, 33), stride=(22, 22), flip=flip, **fields)


@pytest.mark.parametrize("where", ["end", "both"])
@pytest.mark.parametrize(
    "fields",
    [
        {"overlap": "probabilities", "scales": (0.5, 1.0, 1.75), "flip": True},
        {"overlap": "sum", "fuse": "logits", "scales": (0.75, 1.25), "flip": True},
        {"overlap": "probabilities", "mirror": "window", "mirrored": "logits", "scales": (1.0, 1.5), "flip": True},
    ],
)
def test_evenly_spread_windows_of_odd_pictures(fields: dict[str, Any], where: str, net: Sized) -> None:
    """A picture as large as the window, one that is smaller on one side or on both, and a larger one; all odd."""
    net.gain = 3.0
    pictures = Pictures([(29, 31), (21, 75), (45, 17), (19, 15), (43, 53)])
    pad = {"to_window": True, "where": where}
    words: dict[str, Any] = {"mode": "slide", "window": (29, 31), "stride": (13, 17), "pad": pad, **fields}
    check(net, pictures, placing="even", **words)
    assert {size[1:] for size in net.seen} == {(29, 31)}
    one, other = (run(net, pictures, spec(placing=placing, **words)).matrix for placing in ("even", "border"))
    assert one.tolist() != other.tolist()


def test_where_windows_begin() -> None:
    """Of Cityscapes at full size 720 pixels, as few as 480 leave no gap: by hand, and as NumPy spreads their ends."""
    assert starts(2048, 720, 480) == [0, 480, 960, 1328]
    assert starts(2048, 720, 480, placing="even") == [0, 442, 885, 1328]
    assert starts(1024, 720, 480, placing="even") == starts(1024, 720, 480) == [0, 304]
    for length in range(720, 4097):
        found = starts(length, 720, 480, placing="even")
        assert found == begins(length, 720, 480, placing="even")
        assert len(found) == len(starts(length, 720, 480)) and (found[0], found[-1]) == (0, length - 720)
        assert all(after - before <= 480 for before, after in itertools.pairwise(found))
    for placing in ("even", "border"):
        assert starts(33, 33, 22, placing=placing) == [0]


@pytest.mark.parametrize("other", [{"mirrored": "logits"}, {"overlap": "sum", "fuse": "logits"}, {"fuse": "logits"}])
def test_how_windows_are_joined_makes_a_difference(other: dict[str, Any], net: Sized, pictures: Pictures) -> None:
    """Of mirrored windows that overlap at two scales."""
    net.gain = 6.0
    words: dict[str, Any] = {"mode": "slide", "window": (33, 33), "stride": (22, 22), "scales": (1.0, 1.25)}
    words |= {"flip": True, "mirror": "window", "overlap": "logits" if "fuse" in other else "probabilities"}
    assert (
        run(net, pictures, spec(**words)).matrix.tolist() != run(net, pictures, spec(**words | other)).matrix.tolist()
    )


def test_a_mirrored_window_is_not_a_window_of_the_mirrored_image(net: Sized, pictures: Pictures) -> None:
    words: dict[str, Any] = {"mode": "slide", "window": (33, 33), "stride": (22, 22), "flip": True}
    one, other = (run(net, pictures, spec(**words, mirror=mirror)).matrix for mirror in ("image", "window"))
    assert one.tolist() != other.tolist()


def test_windows_are_never_smaller_than_they_were_trained(net: Sized, pictures: Pictures) -> None:
    pad = PadSpec(to_window=True, where="both")
    run(net, pictures, spec(mode="slide", window=(48, 52), stride=(20, 20), scales=(0.5, 1.0), pad=pad))
    assert {size[1:] for size in net.seen} == {(48, 52)}


def test_image_and_mirror_go_together(net: Sized, pictures: Pictures) -> None:
    run(net, pictures, spec(flip=True, scales=(1.0, 1.5)))
    assert [size[0] for size in net.seen] == [2, 2, 2, 2]


def test_a_device_too_small_for_both_gets_one_after_the_other(pictures: Pictures) -> None:
    class Narrow(Sized):
        def forward(self, images: torch.Tensor) -> SegmentorOutput:
            output = super().forward(images)
            if len(images) > 1:
                raise torch.OutOfMemoryError("out of memory")
            return output

    torch.manual_seed(1)
    narrow = Narrow()
    wide = Sized()
    wide.load_state_dict(narrow.state_dict())
    words: dict[str, Any] = {"flip": True, "scales": (0.75, 1.0)}
    assert run(narrow, pictures, spec(**words)).matrix.tolist() == run(wide, pictures, spec(**words)).matrix.tolist()
    assert [size[0] for size in narrow.seen[:3]] == [2, 1, 1]


def test_full_size_scores_are_of_one_view_at_a_time(
    net: Sized, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    enlarged = module._enlarged

    def watched(*words: Any) -> torch.Tensor:
        scores = enlarged(*words)
        sizes.append(tuple(scores.shape))
        return scores

    monkeypatch.setattr(module, "_enlarged", watched)
    run(net, pictures, spec(flip=True, scales=(0.5, 1.0)))
    assert {size[:2] for size in sizes} == {(1, 5)} and len(sizes) == 8


def test_memory_and_size_are_told(net: Sized, pictures: Pictures) -> None:
    class Large(Sized):
        def forward(self, images: torch.Tensor) -> SegmentorOutput:
            self.held = torch.ones(1 << 26)  # 256 MiB, touched
            return super().forward(images)

    result = run(Large(), pictures, spec(), runtime=Runtime())
    assert result.image_size == (40, 56)
    assert 100e6 < result.memory_bytes < 2e9
    assert run(net, Pictures([]), spec()).image_size is None


@pytest.mark.parametrize(
    "fields",
    [
        {"max_side": 100},
        {"short_side": 200, "max_side": 100},
        {"overlap": "probabilities", "fuse": "logits", "mode": "slide", "window": (8, 8)},
        {"overlap": "sum", "mode": "slide", "window": (8, 8)},
        {"overlap": "sum", "fuse": "exp_logits", "mode": "slide", "window": (8, 8)},
        {"mirrored": "logits", "mirror": "window", "mode": "slide", "window": (8, 8)},
        {"mirrored": "logits", "overlap": "probabilities", "mode": "slide", "window": (8, 8)},
        {"short_side": 0},
        {"pad": {"multiple": 0}},
    ],
)
def test_what_makes_no_sense_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        spec(**fields)


def test_new_fields_change_no_old_id() -> None:
    assert set(spec(scales=(0.5, 1.0)).canonical()) == {"data", "scales"}
