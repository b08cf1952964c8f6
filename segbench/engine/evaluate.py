"""Scoring a network by one declared protocol: whole image or sliding windows, scales, flips."""

import contextlib
import statistics
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from segbench.core.errors import Interrupted
from segbench.core.spec import EvaluationSpec, InputSpec, Size
from segbench.data.colour import normalise
from segbench.metrics import scores
from segbench.metrics.cityscapes import LabelIds
from segbench.metrics.confusion import Confusion
from segbench.models.segmentor import Segmentor

from .instances import Benchmark, Images, WithInstances
from .progress import Observer, Progress, Silent
from .runtime import Runtime

WARMUP_IMAGES = 2


@dataclass(frozen=True)
class Evaluation:
    """Counts of one evaluation, and how long it took.

    Attributes:
        matrix: (C, C) int64, rows labels, columns predictions, over all images.
        tally: per-image counts per class, each (N, C) int64.
        keys: names of the images.
        seconds_per_image: median of the synchronised time from an image in memory to its predicted labels.
        benchmark: counts of what the data set's own benchmark scores besides, None if nothing.
    """

    matrix: NDArray[np.int64]
    tally: scores.Tally
    keys: tuple[str, ...]
    seconds_per_image: float
    benchmark: Benchmark | None = None

    def figures(self, *, absent: scores.Absent) -> dict[str, float]:
        """Headline scores in percent."""
        total = scores.Tally.of(self.matrix)
        more = self.benchmark.figures(absent=absent) if self.benchmark else {}
        return {
            "miou": 100 * float(scores.miou(total, absent=absent)),
            "dice": 100 * float(scores.mean_dice(total, absent=absent)),
            "pixel_accuracy": 100 * float(scores.pixel_accuracy(total)),
            "constant_miou": 100 * float(scores.best_constant_miou(total, absent=absent)),
            "mean_class_accuracy": 100 * float(scores.mean_class_accuracy(total, absent=absent)),
            **more,
        }

    def per_class(self) -> list[float | None]:
        """IoU of every class in percent; None where a class is neither labelled nor predicted."""
        values = scores.iou_per_class(scores.Tally.of(self.matrix))
        return [None if np.isnan(value) else 100 * float(value) for value in values]

    def benchmark_scores(self) -> dict[str, dict[str, float | None]]:
        """What the data set's own benchmark scores besides, part by part and by name, in percent."""
        return self.benchmark.by_name() if self.benchmark else {}

    def counts(self) -> dict[str, NDArray[np.int64]]:
        """What the store keeps, so that other conventions can be answered later."""
        return {
            "matrix": self.matrix,
            "true_positive": self.tally.true_positive,
            "predicted": self.tally.predicted,
            "target": self.tally.target,
            **(self.benchmark.counts() if self.benchmark else {}),
        }


def evaluate(
    segmentor: Segmentor,
    images: Images,
    spec: EvaluationSpec,
    *,
    input: InputSpec,
    runtime: Runtime,
    labels: LabelIds | None = None,
    phase: str = "evaluate",
    observer: Observer | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Evaluation:
    """Score every image of a split.

    Logits never leave the device: the arg-max is taken there at the label's size.

    Args:
        segmentor: the network, on the runtime's device.
        images: the split, at the protocol's size.
        spec: the protocol.
        input: channel order and normalisation.
        runtime: the machine.
        labels: what the data set's benchmark knows of its label ids, to gather what it scores besides; the network
            predicts their train ids.
        phase: name used in progress reports.
        observer: told about progress.
        stop: asked between images.

    Raises:
        Interrupted: ``stop`` said so.
        MissingFault: an image or label cannot be read.
    """
    observer = observer or Silent()
    confusion = Confusion(segmentor.num_classes, device=runtime.device, keep_matrices=labels is not None)
    instances = None if labels is None else WithInstances(images, labels)
    seconds: list[float] = []
    began = time.perf_counter()
    # A thread that decodes ahead would take the processor from the network that is timed, if that runs there too.
    samples = _read_ahead(images if instances is None else instances, workers=runtime.workers if runtime.is_cuda else 0)
    with contextlib.closing(samples), at_rest(segmentor, runtime), torch.inference_mode():
        for index, (pixels, label) in enumerate(samples):
            if stop():
                raise Interrupted("Stopped while scoring; what was trained is kept.", next="the same command again")
            image = torch.tensor(pixels).permute(2, 0, 1)[None]
            runtime.synchronize()
            start = time.perf_counter()
            prediction = predict(
                segmentor, image.to(runtime.device), spec, input=input, size=label.shape, runtime=runtime
            )
            runtime.synchronize()
            seconds.append(time.perf_counter() - start)
            target = torch.tensor(label)[None].to(runtime.device)
            confusion.update(target, prediction, keys=[images.key(index)])
            if instances is not None:
                instances.count(index, prediction[0])
            _report(observer, phase, index + 1, len(images), began, runtime)
    timed = seconds[WARMUP_IMAGES:] or seconds
    return Evaluation(
        confusion.matrix(),
        confusion.per_image(),
        tuple(confusion.keys),
        statistics.median(timed) if timed else 0.0,
        None if instances is None else instances.benchmark(confusion.matrices()),
    )


def predict(
    segmentor: Segmentor,
    image: Tensor,
    spec: EvaluationSpec,
    *,
    input: InputSpec,
    size: Size,
    runtime: Runtime,
) -> Tensor:
    """Predicted train ids of one image.

    Args:
        segmentor: the network.
        image: (1, 3, H, W) uint8 RGB on the device.
        spec: the protocol.
        input: channel order and normalisation.
        size: (h, w) of the answer.
        runtime: the machine.

    Returns:
        (1, h, w) uint8.
    """
    plain = len(spec.scales) == 1 and not spec.flip
    total: Tensor | None = None
    for view in _views(normalise(image.float() / 255.0, input), spec):
        logits = _logits(segmentor, view.image, spec, size=size, runtime=runtime)
        if view.flipped:
            logits = logits.flip(-1)
        scored = logits if plain else _fused(logits, spec)
        if total is None:
            total = scored
        elif spec.fuse == "exp_logits":
            # The sum of exp(logits) in log space: same order of classes, and no overflow.
            total = torch.logaddexp(total, scored)
        else:
            total += scored
    assert total is not None
    return total.argmax(1).to(torch.uint8)


@contextlib.contextmanager
def at_rest(network: nn.Module, runtime: Runtime) -> Iterator[None]:
    """Evaluation mode, uncompiled, with one choice of kernels; afterwards every module is as it was."""
    before = [(module, module.training) for module in network.modules()]
    benchmark = torch.backends.cudnn.benchmark
    network.eval()
    # Trying kernels out anew for each size of image takes longer than it saves, and could change a score.
    torch.backends.cudnn.benchmark = False
    try:
        # Sizes differ from training's, and each would be compiled.
        with torch.compiler.set_stance("force_eager") if runtime.compile else contextlib.nullcontext():
            yield
    finally:
        torch.backends.cudnn.benchmark = benchmark
        for module, mode in before:
            module.training = mode


def _read_ahead(images: Images, *, workers: int) -> Generator[tuple[NDArray[np.uint8], NDArray[np.uint8]], None, None]:
    """Every image with its label in order, read by threads while others are scored."""
    if not workers:
        for index in range(len(images)):
            yield images.read(index)
        return
    with ThreadPoolExecutor(workers, "segbench-data") as pool:
        waiting: deque[Future[tuple[NDArray[np.uint8], NDArray[np.uint8]]]] = deque()
        try:
            for index in range(len(images)):
                waiting.append(pool.submit(images.read, index))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True)
class _View:
    image: Tensor
    flipped: bool


def _views(image: Tensor, spec: EvaluationSpec) -> Iterator[_View]:
    height, width = image.shape[-2:]
    for scale in spec.scales:
        size = (round(height * scale), round(width * scale))
        scaled = image
        if size != (height, width):
            # Without anti-aliasing: plain bilinear sampling is what evaluation codes of the field do.
            scaled = F.interpolate(image, size=size, mode="bilinear", align_corners=False)
        yield _View(scaled, False)
        if spec.flip:
            yield _View(scaled.flip(-1), True)


def _fused(logits: Tensor, spec: EvaluationSpec) -> Tensor:
    return logits.softmax(1) if spec.fuse == "probabilities" else logits


def _logits(segmentor: Segmentor, image: Tensor, spec: EvaluationSpec, *, size: Size, runtime: Runtime) -> Tensor:
    """Float32 logits (1, C, h, w) of one view at the size of the answer."""
    window = spec.window if spec.mode == "slide" else None
    if window is not None and (image.shape[-2] > window[0] or image.shape[-1] > window[1]):
        full = _slide(segmentor, image, window, spec.stride or window, runtime)
    else:
        full = _forward(segmentor, image, runtime)
    return segmentor.resize(full, size)


def _forward(segmentor: Segmentor, image: Tensor, runtime: Runtime) -> Tensor:
    if runtime.channels_last:
        image = image.contiguous(memory_format=torch.channels_last)
    with runtime.autocast():
        return segmentor(image).logits


def _slide(segmentor: Segmentor, image: Tensor, window: Size, stride: Size, runtime: Runtime) -> Tensor:
    """Mean of the logits of overlapping windows; the last window of a row or column ends at the border."""
    height, width = image.shape[-2:]
    window = (min(window[0], height), min(window[1], width))
    total = image.new_zeros(1, segmentor.num_classes, height, width)
    times = image.new_zeros(1, 1, height, width)
    for top in _starts(height, window[0], stride[0]):
        for left in _starts(width, window[1], stride[1]):
            place = (..., slice(top, top + window[0]), slice(left, left + window[1]))
            total[place] += segmentor.resize(_forward(segmentor, image[place], runtime), window)
            times[place] += 1
    return total / times


def _starts(length: int, window: int, stride: int) -> list[int]:
    count = max(0, -(-(length - window) // stride)) + 1
    return [min(index * stride, length - window) for index in range(count)]


def _report(observer: Observer, phase: str, done: int, total: int, began: float, runtime: Runtime) -> None:
    elapsed = time.perf_counter() - began
    rate = done / elapsed if elapsed > 0 else 0.0
    observer.report(
        Progress(
            phase,
            done,
            total,
            images_per_second=rate,
            memory_bytes=runtime.peak_memory_bytes(),
            seconds_left=(total - done) / rate if rate else None,
        )
    )
