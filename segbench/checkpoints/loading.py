"""Strict loading: every tensor finds its place, or it is said which did not. Torch is imported by the caller."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from segbench.core.errors import InvalidFault

if TYPE_CHECKING:
    from torch import Tensor, nn

COUNTER = ".num_batches_tracked"  # of batch norm; old files lack it, and nothing depends on it


@dataclass(frozen=True)
class LoadReport:
    """Which tensors of a file fit a network.

    Attributes:
        source: repository or file the tensors came from.
        matched: number of tensors that fit.
        wanted: number of tensors that the network has, counters of batch norm left out.
        dropped: names of tensors left out on purpose.
        missing: names the network has and the file lacks.
        unexpected: names the file has and the network lacks.
        misshapen: names that both have, in different shapes.
        sha256: digest of the file, empty if the tensors did not come from one.
    """

    source: str
    matched: int
    wanted: int = 0
    dropped: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    misshapen: tuple[str, ...] = ()
    sha256: str = ""

    @property
    def faults(self) -> list[str]:
        """One line each for missing, unexpected and misshapen tensors; empty if everything fits."""
        kinds = (
            (self.missing, "tensors of the network are missing"),
            (self.unexpected, "tensors are unexpected"),
            (self.misshapen, "tensors have another shape"),
        )
        return [f"{self.source}: {len(names):,} {what}, e.g. {names[0]}." for names, what in kinds if names]


def match(
    module: "nn.Module",
    state: Mapping[str, "Tensor"],
    *,
    source: str,
    drop: Sequence[str] = (),
    dropped: Sequence[str] = (),
    fresh: Sequence[str] = (),
    sha256: str = "",
) -> LoadReport:
    """Compare a file's tensors with a network; nothing is loaded.

    Args:
        module: the network.
        state: tensors by the network's names.
        source: the file, for messages.
        drop: beginnings of names that are left out on purpose, or endings with ``*`` before them.
        dropped: names in the file that were left out before.
        fresh: beginnings of names that the file does not have and need not.
        sha256: of the file.
    """
    own = {name: tensor.shape for name, tensor in module.state_dict().items()}
    left_out = {name for name in state if _is_dropped(name, drop)}
    kept = {name: tensor.shape for name, tensor in state.items() if name not in left_out}
    plain = [name for name in own if not name.endswith(COUNTER)]
    return LoadReport(
        source,
        sum(own.get(name) == shape for name, shape in kept.items()),
        len(plain),
        dropped=(*dropped, *(name for name in state if name in left_out)),
        missing=tuple(name for name in plain if name not in kept and not name.startswith(tuple(fresh))),
        unexpected=tuple(name for name in kept if name not in own and not name.endswith(COUNTER)),
        misshapen=tuple(name for name, shape in kept.items() if name in own and own[name] != shape),
        sha256=sha256,
    )


def load_fitting(module: "nn.Module", state: Mapping[str, "Tensor"], report: LoadReport) -> None:
    """Copy the tensors that fit; the others of the network stay as they are."""
    left_out = {*report.dropped, *report.unexpected, *report.misshapen}
    own = module.state_dict().keys()
    module.load_state_dict(
        {name: tensor for name, tensor in state.items() if name in own and name not in left_out}, strict=False
    )


def load_strictly(
    module: "nn.Module",
    state: Mapping[str, "Tensor"],
    *,
    source: str,
    drop: Sequence[str] = (),
    fresh: Sequence[str] = (),
    sha256: str = "",
) -> LoadReport:
    """Copy ``state`` into ``module``; every tensor must find its place or nothing is loaded.

    The counters of batch norm (``num_batches_tracked``), which old files lack, may be missing, and so may what is
    ``fresh``; ``drop`` and ``fresh`` are those of `match`.

    Raises:
        InvalidFault: names or shapes differ; one line each for missing, unexpected and misshapen tensors.
    """
    report = match(module, state, source=source, drop=drop, fresh=fresh, sha256=sha256)
    if report.faults:
        raise InvalidFault(*report.faults, next="segbench weights list")
    load_fitting(module, state, report)
    return report


def _is_dropped(name: str, drop: Sequence[str]) -> bool:
    return any(name.endswith(part[1:]) if part.startswith("*") else name.startswith(part) for part in drop)
