"""End of a stage: results that its method writes beside its weights."""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from segbench.core.errors import Interrupted
from segbench.core.progress import Observer
from segbench.core.spec import StageSpec
from segbench.data.batch import Batch
from segbench.data.dataset import SegDataset
from segbench.data.loader import evaluation_batches
from segbench.methods.base import Method

from .folder import PSEUDO_LABELS
from .predict import eval_mode
from .runtime import Runtime


def finish_method(
    method: Method,
    stage: StageSpec,
    folder: Path,
    data: Mapping[str, SegDataset],
    *,
    step: int,
    runtime: Runtime,
    observer: Observer,
) -> None:
    """Call `Method.finish_stage`, in evaluation mode and without gradients.

    Args:
        method: method of the stage; the state of its last step is saved.
        stage: names what is emitted.
        folder: of the stage.
        data: opened data set of each stream.
        step: number of steps done, for messages.
        runtime: device and loader threads.
        observer: polled for a stop request between images.

    Raises:
        Interrupted: a stop was requested.
        ValueError: the stage emits pseudo-labels and the method has written none.
    """

    def images(stream: str) -> Iterator[Batch]:
        for batch in evaluation_batches(
            data[stream], input=stage.model.input, device=runtime.device, num_workers=runtime.workers
        ):
            if observer.stop_requested():
                raise Interrupted(f"Saved at step {step:,}, before the stage ended.", next="the same command again")
            yield batch

    output = folder / PSEUDO_LABELS
    emits = stage.emits == "pseudo_labels"
    if emits:  # a run that was killed meanwhile may have left some
        shutil.rmtree(output, ignore_errors=True)
        output.mkdir()
    with eval_mode(method, runtime), torch.no_grad():
        method.finish_stage(output, images)
    if emits and not any(output.iterdir()):
        raise ValueError(f"the method {stage.method.name} has written no pseudo-labels")
