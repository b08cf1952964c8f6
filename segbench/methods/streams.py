"""Streams that a method joins to one batch."""

from collections.abc import Collection, Mapping, Sequence

import torch

from segbench.core.errors import InvalidFault
from segbench.data.batch import Batch


def require_streams(names: Sequence[str], streams: Collection[str]) -> None:
    """Check that a stage has the streams that its method joins.

    Raises:
        InvalidFault: one is missing.
    """
    missing = [name for name in names if name not in streams]
    if missing:
        fault = f"The method joins the stream {missing[0]!r}; the stage has {', '.join(streams)}."
        raise InvalidFault(fault, next="segbench list")


def join(batches: Mapping[str, Batch], names: Sequence[str]) -> Batch:
    """Return one batch of the images of several streams, in the order of ``names``; crops must be of the same size.

    Positions of rows and columns are kept if all streams know them.
    """
    if len(names) == 1:
        return batches[names[0]]
    parts = [batches[name] for name in names]
    rows = [part.rows for part in parts if part.rows is not None]
    columns = [part.columns for part in parts if part.columns is not None]
    return Batch(
        torch.cat([part.images for part in parts]),
        torch.cat([part.target for part in parts]),
        tuple(key for part in parts for key in part.keys),
        torch.cat(rows) if len(rows) == len(parts) else None,
        torch.cat(columns) if len(columns) == len(parts) else None,
    )
