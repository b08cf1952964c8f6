"""Any checkpoint as a network with its conventions: segbench's own, or another project's."""

from dataclasses import dataclass
from pathlib import Path

from segbench.core.errors import InvalidFault
from segbench.models.loading import LoadReport, load_fitting, match
from segbench.models.segmentor import Segmentor, build_segmentor

from .family import Foreign, recognise
from .unwrap import read_tensors


@dataclass(frozen=True)
class Opened:
    """A network loaded from another project's checkpoint.

    Attributes:
        segmentor: in evaluation mode, on the CPU.
        foreign: what the checkpoint was recognised as; its tensors are dropped.
        report: which tensors found their place.
    """

    segmentor: Segmentor
    foreign: Foreign
    report: LoadReport


def open_foreign(
    path: Path, *, family: str | None = None, averaged: bool = False, allow_partial: bool = False
) -> Opened:
    """Recognise, build and load.

    Args:
        path: a checkpoint file.
        family: whose it is; None to find out.
        averaged: take the moving average that lies beside the weights.
        allow_partial: load what fits and leave the rest random; a deviation.

    Raises:
        MissingFault: there is no such file.
        UsageFault: there is no such family.
        InvalidFault: the file is damaged, holds code or is of no known family, or tensors have no place.
    """
    state = read_tensors(path, averaged=averaged)
    foreign = recognise(state, source=str(path), name=family)
    segmentor = build_segmentor(foreign.model, num_classes=foreign.num_classes)
    report = match(segmentor, foreign.tensors, source=path.name, dropped=foreign.dropped)
    if report.faults and not allow_partial:
        raise InvalidFault(
            *report.faults, next=f"segbench eval --checkpoint {path} --allow-partial, which is a deviation"
        )
    load_fitting(segmentor, foreign.tensors, report)
    return Opened(segmentor.eval(), foreign, report)
