"""Endless batches for training, and images for evaluation.

A batch is a function of (seed, stream, step) alone: not of the number of workers or devices, nor of interruptions.
Workers are threads: decoding and resizing release the GIL, decoded images are shared, nothing is pickled or sent
through shared memory, and exceptions arrive as they were raised.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from segbench.core.errors import InvalidFault
from segbench.core.progress import SILENT, Observer
from segbench.core.spec import AugmentationSpec, InputSpec, StreamSpec

from .augmentation.augment import Cut, of_sample, padding_colour, training_sample
from .augmentation.batchwise import BatchAugmenter
from .augmentation.uniform import ANYWHERE, find_centroids, plan_epoch
from .batch import Batch
from .colour import normalise
from .dataset import SegDataset
from .rng import Purpose, keyed_rng, name_key

_AHEAD = 3  # batches prefetched


@dataclass(frozen=True)
class RawBatch:
    """One device's share of a batch, before ``DeviceTransform``.

    Attributes:
        images: (M, 3, H, W) uint8 RGB; one more than keys if ClassMix needs the image after the share.
        target: (M, H, W) uint8 train ids.
        keys: names of the N images of the share.
        step: number of the batch, which its random draws depend on.
        rows, columns: (N, H) and (N, W) float32, see ``Batch``.
    """

    images: Tensor
    target: Tensor
    keys: tuple[str, ...]
    step: int
    rows: Tensor | None = None
    columns: Tensor | None = None


@dataclass(frozen=True)
class Share:
    """Images of each batch that this process loads."""

    rank: int = 0
    world_size: int = 1

    def of(self, batch_total: int) -> range:
        """Return the positions in the batch.

        Raises:
            InvalidFault: the batch cannot be divided evenly.
        """
        if batch_total % self.world_size:
            raise InvalidFault(f"batch_total {batch_total} cannot be dealt out to {self.world_size} devices evenly.")
        count = batch_total // self.world_size
        return range(self.rank * count, (self.rank + 1) * count)


class TrainingBatches:
    """Endless training batches from ``start_step`` on. Iterate once, close when done.

    Every epoch shuffles the images by (seed, stream, epoch). A batch may span two epochs: none is smaller and no image
    is dropped (unlike either ``drop_last`` of a DataLoader). With ``class_uniform`` an epoch has as many samples, but
    some images occur several times, and every label is read once first.

    Args:
        spec: data, crop, batch size and augmentation of the stream.
        dataset: opened from ``spec.data``.
        seed: of the training.
        input: network input; padding takes its mean colour.
        stream: name of the stream; streams draw independently.
        start_step: first step; a resumed run gets the batches that it would have seen.
        share: images of each batch that this process loads.
        num_workers: threads; 0 loads in the calling thread.
        pin_memory: pin tensors, so that copies to a CUDA device do not block.
        observer: told of reading every label, which ``class_uniform`` needs.

    Raises:
        InvalidFault: the batch cannot be divided evenly, or there are no labels for ``class_uniform``.
        MissingFault: a label cannot be read.
        Interrupted: the observer requested a stop while labels were read.
    """

    def __init__(
        self,
        spec: StreamSpec,
        dataset: SegDataset,
        *,
        seed: int,
        input: InputSpec,
        stream: str = "labelled",
        start_step: int = 0,
        share: Share = Share(),
        num_workers: int = 2,
        pin_memory: bool = False,
        observer: Observer = SILENT,
    ) -> None:
        augmentation = spec.augmentation
        self._spec, self._dataset, self._augmentation = spec, dataset, of_sample(augmentation)
        mine = share.of(spec.batch_total)
        self._count, self._places = len(mine), list(mine)
        if augmentation.classmix and augmentation.applied_by == "loader" and share.world_size > 1:
            self._places.append(mine.stop % spec.batch_total)
        self._seed, self._stream = seed, name_key(stream)
        red, green, blue = padding_colour(augmentation, input)
        self._fill = (round(255 * red), round(255 * green), round(255 * blue))
        self._step = start_step
        self._pin = pin_memory
        self._centroids = None
        if augmentation.class_uniform is not None:
            tile = max(1, round(augmentation.class_uniform.tile * spec.data.scale))
            self._centroids = find_centroids(dataset, tile=tile, workers=num_workers, observer=observer)
        self._order = lru_cache(maxsize=8)(self._shuffled)
        self._pool = ThreadPoolExecutor(num_workers, "segbench-data") if num_workers else None
        self._queue: deque[tuple[int, list[Future[tuple[Cut, str]]]]] = deque()

    def __iter__(self) -> Iterator[RawBatch]:
        return self

    def __next__(self) -> RawBatch:
        if self._pool is None:
            batch = self._collate(self._step, [self._sample(self._step, place) for place in self._places])
            self._step += 1
            return batch
        while len(self._queue) < _AHEAD:
            futures = [self._pool.submit(self._sample, self._step, place) for place in self._places]
            self._queue.append((self._step, futures))
            self._step += 1
        step, futures = self._queue.popleft()
        return self._collate(step, [future.result() for future in futures])

    def close(self) -> None:
        """Stop the workers and drop their unfinished samples."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        self._queue.clear()

    def __enter__(self) -> "TrainingBatches":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _shuffled(self, epoch: int) -> np.ndarray:
        """Return the image of each sample of an epoch; with ``class_uniform`` as ``plan_epoch`` does."""
        uniform, images = self._augmentation.class_uniform, len(self._dataset)
        if uniform is None or self._centroids is None:
            return keyed_rng(Purpose.EPOCH, self._seed, self._stream, epoch).permutation(images)
        rng = keyed_rng(Purpose.UNIFORM, self._seed, self._stream, epoch)
        return plan_epoch(self._centroids, images=images, share=uniform.share, rng=rng)

    def _sample(self, step: int, place: int) -> tuple[Cut, str]:
        epoch, position = divmod(step * self._spec.batch_total + place, len(self._dataset))
        drawn, around = self._order(epoch)[position], None
        if self._centroids is None:
            index = word = int(drawn)
        else:  # an image may occur several times, each with its own draws
            index, *shown = map(int, drawn)
            word = position
            around = None if ANYWHERE in shown else (shown[0], shown[1])
        image, label = self._dataset.read(index)
        rng = keyed_rng(Purpose.SAMPLE, self._seed, self._stream, epoch, word)
        cut = training_sample(
            image, label, crop=self._spec.crop, spec=self._augmentation, fill=self._fill, rng=rng, around=around
        )
        return cut, self._dataset.key(index)

    def _collate(self, step: int, samples: list[tuple[Cut, str]]) -> RawBatch:
        height, width = self._spec.crop
        images = torch.empty((len(samples), height, width, 3), dtype=torch.uint8, pin_memory=self._pin)
        target = torch.empty((len(samples), height, width), dtype=torch.uint8, pin_memory=self._pin)
        for place, (cut, _) in enumerate(samples):
            images[place] = torch.from_numpy(cut.image)
            target[place] = torch.from_numpy(cut.label)
        mine = samples[: self._count]
        rows = columns = None
        if self._spec.augmentation.decisions == "image":  # else the batch augmentation moves them
            rows, columns = (
                torch.from_numpy(np.stack(places))
                for places in ([cut.rows for cut, _ in mine], [cut.columns for cut, _ in mine])
            )
        # Already channels_last in memory.
        return RawBatch(images.permute(0, 3, 1, 2), target, tuple(key for _, key in mine), step, rows, columns)


class DeviceTransform:
    """Copy to the device, augment, normalize; without synchronization.

    Colour jitter comes after the crop, so the mean that it uses is that of the padded crop.

    Args:
        spec: augmentation of the stream; ``applied_by: method`` leaves it to the method, see ``batchwise``.
        batch_total: images of a batch over all devices.
        input: network input.
        device: device of the batches.
        seed, stream, share: as for ``TrainingBatches``.
        channels_last: memory format of the images.
    """

    def __init__(
        self,
        spec: AugmentationSpec,
        *,
        batch_total: int,
        input: InputSpec,
        device: torch.device | str,
        seed: int,
        stream: str = "labelled",
        share: Share = Share(),
        channels_last: bool = False,
    ) -> None:
        self._input, self._device = input, torch.device(device)
        self._augment = BatchAugmenter(
            spec if spec.applied_by == "loader" else AugmentationSpec(),
            batch_total=batch_total,
            seed=seed,
            stream=stream,
            positions=share.of(batch_total),
            fill=padding_colour(spec, input),
        )
        self._layout = torch.channels_last if channels_last else torch.contiguous_format

    def __call__(self, raw: RawBatch) -> Batch:
        images = raw.images.to(self._device, non_blocking=True).float().div_(255)
        target = raw.target.to(self._device, non_blocking=True).long()
        images, target, _ = self._augment(images, target, step=raw.step)
        images = normalise(images, self._input)
        rows, columns = (
            None if each is None else each.to(self._device, non_blocking=True) for each in (raw.rows, raw.columns)
        )
        return Batch(images.contiguous(memory_format=self._layout), target, raw.keys, rows, columns)


def evaluation_batches(
    dataset: SegDataset,
    *,
    input: InputSpec,
    device: torch.device | str = "cpu",
    share: Share = Share(),
    num_workers: int = 2,
) -> Iterator[Batch]:
    """Load every ``world_size``-th image in order with its label, one at a time at its own size.

    Yields:
        Batches of one image (1, 3, H, W) float32, normalised, with target (1, H, W) int64, on the device.
    """
    device = torch.device(device)
    indices = range(share.rank, len(dataset), share.world_size)

    def finish(index: int, sample: tuple[np.ndarray, np.ndarray]) -> Batch:
        # A copy: cached samples are read-only, which tensors cannot be.
        image, label = (torch.from_numpy(array.copy()) for array in sample)
        if device.type == "cuda":
            image, label = image.pin_memory(), label.pin_memory()
        pixels = image.to(device, non_blocking=True).permute(2, 0, 1).unsqueeze(0).float().div_(255)
        target = label.to(device, non_blocking=True).long().unsqueeze(0)
        return Batch(normalise(pixels, input).contiguous(), target, (dataset.key(index),))

    if not num_workers:
        for index in indices:
            yield finish(index, dataset.read(index))
        return
    with ThreadPoolExecutor(num_workers, "segbench-data") as pool:
        waiting: deque[tuple[int, Future[tuple[np.ndarray, np.ndarray]]]] = deque()
        try:
            for index in indices:
                waiting.append((index, pool.submit(dataset.read, index)))
                if len(waiting) > num_workers + 1:
                    first, future = waiting.popleft()
                    yield finish(first, future.result())
            while waiting:
                first, future = waiting.popleft()
                yield finish(first, future.result())
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
