"""Open a checkpoint of another project: recognise it, build its network and load the tensors strictly."""

from dataclasses import dataclass
from pathlib import Path

from segbench.core.errors import RunFault
from segbench.models.segmentor import Segmentor, build_segmentor

from .family import ForeignCheckpoint
from .loading import LoadReport, load_strictly
from .recognise import recognise
from .unwrap import read_contents


@dataclass(frozen=True)
class OpenedForeign:
    """A network loaded from a checkpoint of another project.

    Attributes:
        segmentor: in evaluation mode, on the CPU.
        foreign: the recognised checkpoint.
        report: which tensors were loaded.
    """

    segmentor: Segmentor
    foreign: ForeignCheckpoint
    report: LoadReport


def open_foreign(
    path: Path, *, family: str | None = None, averaged: bool = False, allow_partial: bool = False
) -> OpenedForeign:
    """Open a checkpoint of another project.

    Args:
        path: a checkpoint file.
        family: name of its family; None to recognise it.
        averaged: take the moving average that lies beside the weights.
        allow_partial: load what fits and leave the rest at random; a deviation.

    Raises:
        MissingFault: there is no such file.
        UsageFault: there is no such family.
        InvalidFault: the file is damaged, holds code or is of no known family, or tensors do not fit or are not finite.
        RunFault: there is not enough memory for the network.
    """
    contents = read_contents(path, averaged=averaged)
    foreign = recognise(contents.tensors, source=str(path), family=family, metadata=contents.metadata)
    segmentor = _build(foreign, path)
    report = load_strictly(
        segmentor,
        foreign.tensors,
        source=path.name,
        dropped=foreign.dropped,
        allow_partial=allow_partial,
        next=f"segbench eval --checkpoint {path} --allow-partial, which is a deviation",
    )
    return OpenedForeign(segmentor.eval(), foreign, report)


def _build(foreign: ForeignCheckpoint, path: Path) -> Segmentor:
    """Build the network.

    Raises:
        RunFault: there is not enough memory for it.
    """
    try:
        return build_segmentor(foreign.model, num_classes=foreign.num_classes)
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "allocate" not in str(error):
            raise
        raise RunFault(
            f"{path.name}: the memory of this machine does not hold the network, {foreign.title} with "
            f"{foreign.num_classes:,} classes.",
            next=f"segbench eval --checkpoint {path}, on a machine with more memory",
        ) from error
