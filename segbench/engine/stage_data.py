"""Opened data sets of a stage."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from segbench.core.errors import InvalidFault
from segbench.core.progress import SILENT, Observer
from segbench.core.spec import DataSpec, StageSpec
from segbench.data.classes import ClassTable
from segbench.data.dataset import SegDataset
from segbench.data.open import open_dataset
from segbench.data.prepared.folder import CacheUse
from segbench.data.subsets import seeded

from .validation import validation_split


@dataclass(frozen=True)
class StageData:
    """Opened data sets of a stage.

    Attributes:
        streams: by name.
        classes: class table of the primary stream.
        validation: validation split of the primary stream's data set; None without one, or if nothing validates.
    """

    streams: Mapping[str, SegDataset]
    classes: ClassTable
    validation: SegDataset | None


def open_stage_data(
    stage: StageSpec,
    *,
    seed: int,
    data_root: Path | None = None,
    cache: CacheUse = "make",
    observer: Observer = SILENT,
    labels: Mapping[str, Path] | None = None,
) -> StageData:
    """Open the data sets of a stage; images are prepared first if ``cache`` says so.

    Args:
        stage: names the streams.
        seed: of the training, which a draw of labelled images may depend on.
        data_root: folder of all data sets; None for ``SEGBENCH_DATA`` or the user's own.
        cache: use of prepared images, see ``open_dataset``; no result depends on it.
        observer: receives the progress of preparation, and is polled for a stop request.
        labels: folders of the label sets of streams whose labels come from an earlier stage.

    Raises:
        UsageFault, InvalidFault, MissingFault: as of ``open_dataset``.
        Interrupted: a stop was requested.
    """

    def opened(data: DataSpec, use: CacheUse, given: Path | None = None) -> SegDataset:
        seen = observer.phase("prepare")
        return open_dataset(seeded(data, seed), root=data_root, cache=use, observer=seen, labels=given)

    sets = labels or {}
    streams = {name: opened(stream.data, cache, sets.get(name)) for name, stream in stage.streams.items()}
    _require_same_classes(stage, streams)
    split = validation_split(stage)
    # Never prepared for validations alone.
    validation = None if split is None else opened(split, "off" if cache == "off" else "use")
    return StageData(streams, streams[stage.primary_name].classes, validation)


def _require_same_classes(stage: StageSpec, streams: Mapping[str, SegDataset]) -> None:
    """Raise InvalidFault if a stream is of other classes than the primary one, a line a stream."""
    wanted = streams[stage.primary_name].classes
    faults = [
        f"stream {name!r}: the {data.classes.num_classes} classes of {data.classes.name} are not the "
        f"{wanted.num_classes} of {wanted.name}, which stream {stage.primary_name!r} has."
        for name, data in streams.items()
        if data.classes.slugs != wanted.slugs
    ]
    if faults:
        raise InvalidFault(*faults, next="segbench data list")
