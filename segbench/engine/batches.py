"""Training batches of all streams of a stage."""

import contextlib
from collections.abc import Generator, Mapping

from segbench.core.progress import Observer
from segbench.core.spec import StageSpec
from segbench.data.batch import Batch
from segbench.data.dataset import SegDataset
from segbench.data.loader import DeviceTransform, TrainingBatches

from .runtime import Runtime


def stage_batches(
    stage: StageSpec,
    data: Mapping[str, SegDataset],
    *,
    seed: int,
    start_step: int,
    runtime: Runtime,
    observer: Observer,
) -> Generator[dict[str, Batch], None, None]:
    """Yield endless batches on the device, one per stream; they depend on seed and step only.

    Args:
        stage: names the streams.
        data: opened data set of each stream.
        seed: seed of the training.
        start_step: step of the first batch.
        runtime: device, memory layout and loader threads.
        observer: receives the progress of reading labels beforehand.
    """
    with contextlib.ExitStack() as stack:
        loaders, transforms = {}, {}
        for name, stream in stage.streams.items():
            loader = TrainingBatches(
                stream,
                data[name],
                seed=seed,
                input=stage.model.input,
                stream=name,
                start_step=start_step,
                num_workers=runtime.workers,
                pin_memory=runtime.is_cuda,
                observer=observer,
            )
            loaders[name] = stack.enter_context(loader)
            transforms[name] = DeviceTransform(
                stream.augmentation,
                batch_total=stream.batch_total,
                input=stage.model.input,
                device=runtime.device,
                seed=seed,
                stream=name,
                channels_last=runtime.channels_last,
            )
        while True:
            yield {name: transforms[name](next(loader)) for name, loader in loaders.items()}
