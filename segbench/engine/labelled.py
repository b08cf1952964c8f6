"""List of a stage's labelled images, written beside its weights and checked when it resumes."""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from segbench.core import atomic
from segbench.core.errors import InvalidFault
from segbench.core.progress import SILENT, Observer
from segbench.core.spec import StageSpec
from segbench.data.dataset import SegDataset
from segbench.data.open import Chosen
from segbench.data.subsets import listing, seeded

LABELLED = "labelled.json"
_WORKERS = 8


def note_labelled(
    stage: StageSpec,
    folder: Path,
    data: Mapping[str, SegDataset],
    *,
    seed: int,
    goes_on: bool,
    observer: Observer = SILENT,
) -> None:
    """Write the list of chosen images of every stream with a subset; nothing if there is none.

    A class of which they show no pixel is noted and told: nothing can be learnt of it.

    Args:
        stage: stage to train.
        folder: folder of the stage.
        data: opened data set of each stream.
        seed: seed of the training, which a draw may depend on.
        goes_on: whether the stage resumes and must use the images that are listed there.
        observer: told of missing classes.

    Raises:
        InvalidFault: the stage was begun with other images.
        RunFault: the folder cannot be written.
    """
    found = {}
    for name, stream in stage.streams.items():
        subset = seeded(stream.data, seed).subset
        if subset is not None and not stream.data.unlabelled_rest:
            keys = [data[name].key(index) for index in range(len(data[name]))]
            found[name] = listing(subset, keys, generated=stream.data.source == "generated")
            if isinstance(chosen := data[name], Chosen):
                found[name]["of"] = chosen.total
    before = _read(folder)
    for name, listed in found.items() if goes_on else ():
        if name in before and before[name]["sha256"] != listed["sha256"]:
            raise InvalidFault(
                f"{folder / LABELLED}: this training began with other labelled images than the data folder gives now.",
                next=f"put the data back as it was, or rm -r {folder} to begin anew",
            )
    for name, listed in found.items():
        same = before.get(name, {})
        known = same.get("missing") if same.get("sha256") == listed["sha256"] else None
        missing = _missing_classes(data[name]) if known is None else known
        listed["missing"] = missing
        if missing and known is None:
            observer.note(f"the {len(data[name]):,} labelled images show no pixel of {', '.join(missing)}")
    if found and found != before:
        atomic.write_json(folder / LABELLED, {"schema": 1, "streams": found})


def _missing_classes(dataset: SegDataset) -> list[str]:
    """Return the classes that no label shows."""
    names = dataset.classes.names

    def seen(index: int) -> np.ndarray:
        return np.bincount(dataset.read(index)[1].ravel(), minlength=256)[: len(names)] > 0

    with ThreadPoolExecutor(_WORKERS, "segbench-labels") as pool:
        shown = np.any(list(pool.map(seen, range(len(dataset)))), axis=0)
    return [name for name, there in zip(names, shown, strict=True) if not there]


def labelled(folder: Path, stage: str) -> list[dict[str, Any]]:
    """Return the subset of each stream of a stage for its record, with all image names; empty if there is none."""
    return [{"stage": stage, "stream": name, **chosen} for name, chosen in _read(folder).items()]


def _read(folder: Path) -> dict[str, Any]:
    path = folder / LABELLED
    if not path.exists():
        return {}
    try:
        streams: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["streams"]
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidFault(f"{path} does not read.", next=f"rm {path}, and type the same command again") from error
    return streams
