"""Which images a stage takes as labelled: written beside its weights, and held to when it goes on."""

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
    """Write down the chosen images of every stream that has a subset; nothing where none has.

    Args:
        stage: of the training.
        folder: of the stage.
        data: what was opened for each stream.
        seed: of the training, which a draw may follow.
        goes_on: whether the stage was begun before, with the images that are written there.

    Raises:
        InvalidFault: it was begun with other images.
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
    """For a record: the choice of each stream of a stage, every name of it; empty where there is none."""
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
