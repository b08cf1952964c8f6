"""Scoring of networks by evaluation protocols; every image is read once, predicted, timed and counted."""

import contextlib
import statistics
import time
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segbench.core.errors import Interrupted
from segbench.core.progress import SILENT, Observer, Progress
from segbench.core.spec import EvaluationSpec, InputSpec, Size
from segbench.metrics import scores
from segbench.metrics.cityscapes import LabelIds
from segbench.metrics.confusion import Confusion
from segbench.metrics.features import FeatureScores
from segbench.models.segmentor import Segmentor

from .features import FeatureCounts
from .instances import Benchmark, Images, InstanceCounts, WithInstances
from .predict import eval_mode as eval_mode
from .predict import predict as predict
from .runtime import Runtime

WARMUP_IMAGES = 2


@dataclass(frozen=True)
class Evaluation:
    """Counts and timing of one evaluation.

    Attributes:
        matrix: (C, C) int64 over all images, rows labels, columns predictions; one more column if predictions may be of
            classes that are not scored.
        tally: per-image counts per class, each (N, C) int64.
        keys: names of the images.
        seconds_per_image: median of the synchronised time from an image in memory to its predicted labels.
        benchmark: counts for further scores of the data set's own benchmark; None if it has none.
        memory_bytes: peak memory of the device; on a CPU, the increase of the process's peak.
        image_size: (height, width) of the first image; None without images.
        features: feature scores; None if the protocol does not ask for them.
    """

    matrix: NDArray[np.int64]
    tally: scores.Tally
    keys: tuple[str, ...]
    seconds_per_image: float
    benchmark: Benchmark | None = None
    memory_bytes: int = 0
    image_size: Size | None = None
    features: FeatureScores | None = None

    def figures(self, *, absent: scores.Absent) -> dict[str, float]:
        """Return the headline scores in percent and the feature scores in their own units."""
        total = self.tally.total()
        more = self.benchmark.figures(absent=absent) if self.benchmark else {}
        more |= self.features.figures() if self.features else {}
        return {
            "miou": 100 * float(scores.miou(total, absent=absent)),
            "dice": 100 * float(scores.mean_dice(total, absent=absent)),
            "pixel_accuracy": 100 * float(scores.pixel_accuracy(total)),
            "constant_miou": 100 * float(scores.best_constant_miou(total, absent=absent)),
            "mean_class_accuracy": 100 * float(scores.mean_class_accuracy(total, absent=absent)),
            **more,
        }

    def per_class(self) -> list[float | None]:
        """Return the IoU of every class in percent; None for a class that is neither labelled nor predicted."""
        values = scores.iou_per_class(self.tally.total())
        return [None if np.isnan(value) else 100 * float(value) for value in values]

    def benchmark_scores(self) -> dict[str, dict[str, float | None]]:
        """Return further scores of the data set's own benchmark in percent, by score and by name."""
        return self.benchmark.by_name() if self.benchmark else {}

    def counts(self) -> dict[str, NDArray[np.int64]]:
        """Return the arrays to store, from which scores by other conventions can be computed later."""
        return {
            "matrix": self.matrix,
            "true_positive": self.tally.true_positive,
            "predicted": self.tally.predicted,
            "target": self.tally.target,
            **(self.benchmark.counts() if self.benchmark else {}),
        }


@dataclass(frozen=True)
class Trial:
    """A network with a protocol to score it by.

    Attributes:
        segmentor: network on the runtime's device.
        spec: evaluation protocol.
        input: channel order and normalisation.
    """

    segmentor: Segmentor
    spec: EvaluationSpec
    input: InputSpec


def evaluate(
    segmentor: Segmentor,
    images: Images,
    spec: EvaluationSpec,
    *,
    input: InputSpec,
    runtime: Runtime,
    labels: LabelIds | None = None,
    phase: str = "evaluate",
    observer: Observer = SILENT,
) -> Evaluation:
    """Score every image of a split.

    Logits never leave the device; the arg-max is taken there at the label's size.

    Args:
        segmentor: network on the runtime's device.
        images: split at the protocol's size.
        spec: evaluation protocol.
        input: channel order and normalisation.
        runtime: device and precision.
        labels: label ids of the data set's benchmark, to count for its further scores; the network predicts train ids.
        phase: name in progress reports.
        observer: receives the progress, and is polled for a stop request between images.

    Raises:
        Interrupted: a stop was requested.
        MissingFault: an image or label cannot be read.
    """
    trial = Trial(segmentor, spec, input)
    return evaluate_all(
        [trial], images, runtime=runtime, labels=labels, phase=phase, observer=observer
    )[0]  # fmt: skip


def evaluate_all(
    trials: Sequence[Trial],
    images: Images,
    *,
    runtime: Runtime,
    labels: LabelIds | None = None,
    phase: str = "evaluate",
    observer: Observer = SILENT,
) -> list[Evaluation]:
    """Score every image of a split in several trials; each image is read once.

    Args:
        trials: networks and protocols, all of the same data.
        images, runtime, labels, phase, observer: as of ``evaluate``.

    Raises:
        Interrupted: a stop was requested.
        MissingFault: an image or label cannot be read.
    """
    counting = [_Counting(trial, runtime, labels) for trial in trials]
    source = images if labels is None else WithInstances(images)
    before = runtime.peak_memory_bytes()
    began = time.perf_counter()
    # On a CPU, a thread that decodes ahead would compete with the network that is timed.
    samples = _read_ahead(source, workers=runtime.workers if runtime.is_cuda else 0)
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.closing(samples))
        for network in dict.fromkeys(trial.segmentor for trial in trials):
            stack.enter_context(eval_mode(network, runtime))
        stack.enter_context(torch.inference_mode())
        for index, (pixels, label) in enumerate(samples):
            image = torch.tensor(pixels).permute(2, 0, 1)[None]
            target = torch.tensor(label)[None].to(runtime.device)
            instances = source.take(index) if isinstance(source, WithInstances) else None
            for each in counting:
                if observer.stop_requested():
                    raise Interrupted("Stopped while scoring; what was trained is kept.", next="the same command again")
                each.count(images.key(index), image, target, instances)
            report_images(observer, phase, index + 1, len(images), began, runtime)
    peak = runtime.peak_memory_bytes()
    memory = peak if runtime.is_cuda else peak - before
    return [each.result(memory) for each in counting]


class _Counting:
    """Counts of one trial so far."""

    def __init__(self, trial: Trial, runtime: Runtime, labels: LabelIds | None) -> None:
        self._trial, self._runtime = trial, runtime
        classes = trial.segmentor.num_classes
        self._confusion = Confusion(classes, device=runtime.device, keep_matrices=labels is not None)
        self._instances = None if labels is None else InstanceCounts(labels)
        wanted = trial.spec.features
        self._features = (
            None if wanted is None else FeatureCounts(trial.segmentor, wanted, input=trial.input, runtime=runtime)
        )
        self._seconds: list[float] = []
        self._image_size: Size | None = None

    def count(self, key: str, image: Tensor, target: Tensor, instances: NDArray[np.int32] | None) -> None:
        """Predict an image (1, 3, H, W) uint8 and count it against its label (1, h, w), which is on the device."""
        trial, runtime = self._trial, self._runtime
        size = (target.shape[-2], target.shape[-1])
        self._image_size = self._image_size or (image.shape[-2], image.shape[-1])
        runtime.synchronize()
        start = time.perf_counter()
        placed = image.to(runtime.device)
        prediction = predict(trial.segmentor, placed, trial.spec, input=trial.input, size=size, runtime=runtime)
        runtime.synchronize()
        self._seconds.append(time.perf_counter() - start)
        self._confusion.update(target, prediction, keys=[key])
        if self._instances is not None:
            self._instances.count(instances, prediction[0], name=key)
        if self._features is not None:
            self._features.count(placed, target, key=key)

    def result(self, memory_bytes: int) -> Evaluation:
        timed = self._seconds[WARMUP_IMAGES:] or self._seconds
        return Evaluation(
            self._confusion.matrix(),
            self._confusion.per_image(),
            tuple(self._confusion.keys),
            statistics.median(timed) if timed else 0.0,
            None if self._instances is None else self._instances.benchmark(self._confusion.matrices()),
            memory_bytes,
            self._image_size,
            None if self._features is None else self._features.scores(),
        )


def _read_ahead(images: Images, *, workers: int) -> Generator[tuple[NDArray[np.uint8], NDArray[np.uint8]], None, None]:
    """Yield every image with its label in order; threads read ahead."""
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


def report_images(observer: Observer, phase: str, done: int, total: int, began: float, runtime: Runtime) -> None:
    """Report the number of images that are done since ``began``."""
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
