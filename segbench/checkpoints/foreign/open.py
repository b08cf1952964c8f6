"""Any checkpoint as a network with its conventions: segbench's own, or another project's."""

from dataclasses import dataclass
from pathlib import Path

from segbench.core.errors import InvalidFault, RunFault
from segbench.models.segmentor import Segmentor, build_segmentor

from ..loading import COUNTER, LoadReport, load_fitting, match
from .family import Foreign, recognise
from .unwrap import read_contents


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
        RunFault: there is no memory for such a network.
    """
    contents = read_contents(path, averaged=averaged)
    foreign = recognise(contents.tensors, source=str(path), name=family, meta=contents.meta)
    segmentor = _built(foreign, path)
    report = match(segmentor, foreign.tensors, source=path.name, dropped=foreign.dropped)
    if report.faults and not allow_partial:
        raise InvalidFault(
            *report.faults, next=f"segbench eval --checkpoint {path} --allow-partial, which is a deviation"
        )
    _check_numbers(segmentor, foreign, path)
    load_fitting(segmentor, foreign.tensors, report)
    return Opened(segmentor.eval(), foreign, report)


def _built(foreign: Foreign, path: Path) -> Segmentor:
    """A network of that kind.

    Raises:
        RunFault: there is no memory for it.
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


def _check_numbers(segmentor: Segmentor, foreign: Foreign, path: Path) -> None:
    """Refuse what a training left that went astray: it would be scored without a word.

    Raises:
        InvalidFault: tensors of the network hold values that are no numbers, or infinite.
    """
    own = segmentor.state_dict().keys()
    mine = {name: tensor for name, tensor in foreign.tensors.items() if name in own and not name.endswith(COUNTER)}
    bad = [name for name, tensor in mine.items() if tensor.is_floating_point() and not bool(tensor.isfinite().all())]
    if bad:
        raise InvalidFault(
            f"{path.name}: {len(bad):,} tensor{'s' * (len(bad) > 1)} of the network hold{'s' * (len(bad) == 1)} values "
            f"that are not finite, e.g. {bad[0]}; its scores would mean nothing.",
            next="segbench eval --checkpoint FILE, with one of before its training diverged",
        )
