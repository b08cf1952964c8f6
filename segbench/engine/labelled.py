"""List of a stage's labelled images, written beside its weights and checked when it resumes."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segbench.core import atomic
from segbench.core.errors import InvalidFault
from segbench.core.spec import StageSpec
from segbench.data.dataset import SegDataset
from segbench.data.subsets import listing, seeded

LABELLED = "labelled.json"


def note_labelled(stage: StageSpec, folder: Path, data: Mapping[str, SegDataset], *, seed: int, goes_on: bool) -> None:
    """Write the list of chosen images of every stream with a subset; nothing if there is none.

    Args:
        stage: stage to train.
        folder: folder of the stage.
        data: opened data set of each stream.
        seed: seed of the training, which a draw may depend on.
        goes_on: whether the stage resumes and must use the images that are listed there.

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
    before = _read(folder)
    for name, chosen in found.items() if goes_on else ():
        if name in before and before[name]["sha256"] != chosen["sha256"]:
            raise InvalidFault(
                f"{folder / LABELLED}: this training began with other labelled images than the data folder gives now.",
                next=f"put the data back as it was, or rm -r {folder} to begin anew",
            )
    if found and found != before:
        atomic.write_json(folder / LABELLED, {"schema": 1, "streams": found})


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
