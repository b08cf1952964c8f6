"""The results folder: records, attempts, and one folder per training."""

import io
import json
import math
import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from segbench.core import atomic
from segbench.core.errors import InvalidFault, first_line
from segbench.core.spec import digest
from segbench.metrics.scores import Tally, miou

from .record import Attempt, Record

_SAME = 1e-6  # points of mIoU by which a record and its counts may differ, in rounding
Counts = dict[str, NDArray[np.int64]]


def default_root() -> Path:
    """Return ``SEGBENCH_RESULTS``, or a folder in the user's own data folder."""
    named = os.environ.get("SEGBENCH_RESULTS")
    return Path(named) if named else platformdirs.user_data_path("segbench") / "results"


class Store:
    """Reader and writer of a results folder; every write is atomic, so that a kill loses at most one record.

    Args:
        root: the folder; ``default_root()`` unless given. It is made when something is written.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = root if root is not None else default_root()

    def check_writable(self) -> None:
        """Raise before anything long starts.

        Raises:
            RunFault: the folder cannot be made or written.
        """
        probe = self.root / ".writable"
        atomic.write_text(probe, "")
        probe.unlink(missing_ok=True)

    def is_empty(self) -> bool:
        """Return whether there is neither a record nor an attempt."""
        return not any(next((self.root / kind).glob("*.json"), None) for kind in ("records", "attempts"))

    def training_folder(self, training: str) -> Path:
        """Return the folder of a training, by its id; it may not exist yet."""
        return self.root / "trainings" / training

    def record_path(self, evaluation: str) -> Path:
        """Return the file of a record, by the id of its evaluation; it may not exist yet."""
        return self.root / "records" / f"{evaluation}.json"

    def write(self, record: Record, counts: Counts | None = None) -> Path:
        """Write the counts first and the record last, so that a record that exists is complete.

        Returns:
            The record's file.

        Raises:
            RunFault: the disk is full or not writable.
        """
        path = self.record_path(record.id)
        if counts is not None:
            buffer = io.BytesIO()
            np.savez_compressed(buffer, **counts)  # type: ignore[arg-type]
            atomic.write_bytes(path.with_suffix(".npz"), buffer.getvalue())
        atomic.write_json(path, record.model_dump(mode="json", by_alias=True))
        return path

    def find(self, evaluation: str) -> Record | None:
        """Return the record of an evaluation; None if there is none.

        Raises:
            InvalidFault: the file is not a valid record.
        """
        path = self.record_path(evaluation)
        return _read(path, Record) if path.exists() else None

    def records(self) -> Iterator[Record]:
        """Yield all records in the order of their file names.

        Raises:
            InvalidFault: a file is not a valid record.
        """
        for path in sorted((self.root / "records").glob("*.json")):
            yield _read(path, Record)

    def counts(self, record: Record) -> Counts | None:
        """Return the confusion matrix and the counts per image of a record; None if they were not kept.

        Raises:
            InvalidFault: the file is damaged.
        """
        path = self.record_path(record.id).with_suffix(".npz")
        if not path.exists():
            return None
        try:
            with np.load(path, allow_pickle=False) as data:
                return {name: data[name] for name in data.files}
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
            raise InvalidFault(f"{path} is damaged: {first_line(error, named=True)}.", next=_again(path)) from error

    def tally(self, record: Record) -> Tally | None:
        """Return the counts of every image of a record, (images, C) each; None if they were not kept.

        Raises:
            InvalidFault: the file is damaged, or its counts do not give the record's mIoU.
        """
        counts = self.counts(record)
        names = [each.name for each in fields(Tally)]
        if counts is None or any(name not in counts for name in names):
            return None
        tally = Tally(*(np.asarray(counts[name], dtype=np.int64) for name in names))
        written = record.figures.get("miou")
        counted = 100 * float(miou(tally.total(), absent=record.evaluation_spec.get("absent", "exclude")))
        if written is not None and not math.isclose(written, counted, abs_tol=_SAME):
            path = self.record_path(record.id)
            fault = f"{path} says mIoU {written:.4f}, the counts beside it give {counted:.4f}: one of them was altered."
            raise InvalidFault(fault, next=_again(path))
        return tally

    def note_attempts(self, attempts: Sequence[Attempt]) -> None:
        """Keep the requests of rows under their readings, settings and seeds, before anything runs.

        Seeds that are added to a request after it has a record are another look.

        Raises:
            RunFault: the disk is full or not writable.
        """
        seen: dict[str, int] = {}  # looks of every request that has a record
        wanted = {_request_of(attempt) for attempt in attempts}
        for attempt in self.attempts():
            request = _request_of(attempt)
            if request in wanted and self.record_path(attempt.evaluation).exists():
                seen[request] = max(seen.get(request, 0), attempt.look)
        for attempt in attempts:
            self.note_attempt(attempt, look=1 + seen.get(_request_of(attempt), 0))

    def note_attempt(self, attempt: Attempt, *, look: int = 1) -> None:
        """Keep one request unless it is known; ``look`` is that of a new one."""
        data = attempt.model_dump(mode="json", exclude={"look", *({"on"} if attempt.on is None else ())})
        path = self.root / "attempts" / f"{digest(data)}.json"
        if not path.exists():
            atomic.write_json(path, data | ({"look": look} if look > 1 else {}))

    def attempts(self, table: str | None = None) -> list[Attempt]:
        """Return all attempts, or those at one table, in the order of their file names.

        Raises:
            InvalidFault: a file is not a valid attempt.
        """
        found = [_read(path, Attempt) for path in sorted((self.root / "attempts").glob("*.json"))]
        return [attempt for attempt in found if table is None or attempt.table == table]

    def note_failure(self, training: str, reason: str) -> None:
        """Keep the reason why a training failed; a later success removes it."""
        when = datetime.now(UTC).isoformat(timespec="seconds")
        atomic.write_json(self.training_folder(training) / "failed.json", {"reason": reason, "when": when})

    def failure(self, training: str) -> str | None:
        """Return the reason why a training failed last; None if it did not."""
        path = self.training_folder(training) / "failed.json"
        try:
            return str(json.loads(path.read_text())["reason"])
        except (OSError, ValueError, KeyError):
            return None

    def clear_failure(self, training: str) -> None:
        """Remove the reason why a training failed, if there is one."""
        (self.training_folder(training) / "failed.json").unlink(missing_ok=True)


def _request_of(attempt: Attempt) -> str:
    """Return a digest that attempts share which differ by seed alone."""
    return digest(attempt.model_dump(mode="json", exclude={"seed", "training", "evaluation", "look"}))


def _again(path: Path) -> str:
    return f"move {path.name} out of the folder and run its row again"


def _read(path: Path, model: type[BaseModel]) -> Any:
    try:
        return model.model_validate(json.loads(path.read_text()))
    except (ValueError, ValidationError) as error:
        raise InvalidFault(
            f"{path} is no {model.__name__.lower()} of segbench: {first_line(error)}",
            next=_again(path),
        ) from error
