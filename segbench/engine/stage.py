"""A stage of a training, from the lock on its folder to its summary."""

from pathlib import Path

from segbench.core import support
from segbench.core.errors import InvalidFault
from segbench.core.progress import SILENT, Observer
from segbench.core.spec import StageSpec
from segbench.data.prepared.folder import CacheUse

from .folder import Summary, read_summary, stage_lock
from .inputs import NO_INPUTS, StageInputs
from .runtime import Runtime
from .stage_data import open_stage_data
from .train import train_stage


def run_stage(
    stage: StageSpec,
    folder: Path,
    *,
    training: str,
    seed: int,
    runtime: Runtime,
    data_root: Path | None = None,
    inputs: StageInputs = NO_INPUTS,
    cache: CacheUse = "make",
    observer: Observer = SILENT,
) -> Summary:
    """Train a stage, resume it, or return at once if it is done.

    Args:
        stage: stage to train.
        folder: folder of the stage's files, for this process only.
        training: id written into the weights' header.
        seed: seed of all random draws.
        runtime: device, precision and so on.
        data_root: folder of all data sets.
        inputs: results of earlier stages.
        cache: use of prepared images, see ``open_dataset``; no result depends on it.
        observer: receives progress, and is polled for a stop request after every step and validation image.

    Raises:
        Interrupted: a stop was requested; the state is saved.
        RunFault: non-finite loss or weights, full disk, or another process trains this stage. Resumable.
        InvalidFault: the stage needs a feature or an earlier stage that does not exist, or its saved state does not
            fit.
        MissingFault: data or weights are missing.
    """
    _check_supported(stage)
    with stage_lock(folder, training):
        done = read_summary(folder)
        if done is not None:
            return done
        data = open_stage_data(
            stage, seed=seed, data_root=data_root, cache=cache, observer=observer, labels=inputs.labels
        )
        return train_stage(
            stage, data, folder, training=training, seed=seed, runtime=runtime, inputs=inputs, observer=observer
        )


def _check_supported(stage: StageSpec) -> None:
    """Raise on settings that the loop would otherwise silently ignore.

    Raises:
        InvalidFault: one line per setting.
    """
    faults = [f"stage {stage.name!r}: {setting}" for setting in support.of_stage(stage)]
    if faults:
        raise InvalidFault(*faults, next="segbench list")
