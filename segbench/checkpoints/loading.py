"""Strict loading: every tensor of a file fits the network, or a report names those that do not."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from segbench.core.errors import InvalidFault

if TYPE_CHECKING:
    from torch import Tensor, nn

_COUNTER = ".num_batches_tracked"  # of batch norm; old files lack it, and no result depends on it
_Shape = tuple[int, ...]


@dataclass(frozen=True)
class LoadReport:
    """A comparison of the tensors of a file with a network.

    Attributes:
        source: repository or file that the tensors came from.
        matched: number of tensors that fit.
        wanted: number of tensors of the network, counters of batch norm left out.
        dropped: names of tensors left out on purpose.
        missing: names that only the network has.
        unexpected: names that only the file has.
        misshapen: names that both have, with the shape in the file and that in the network, which differ.
        not_finite: names of tensors that hold NaN or Inf; only found where they are to be loaded.
        sha256: digest of the file; empty if the tensors did not come from one.
    """

    source: str
    matched: int
    wanted: int = 0
    dropped: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    misshapen: Mapping[str, tuple[_Shape, _Shape]] = field(default_factory=dict)
    not_finite: tuple[str, ...] = ()
    sha256: str = ""

    @property
    def mismatches(self) -> list[str]:
        """One sentence each on missing, unexpected and misshapen tensors; empty if all names and shapes agree."""
        said = []
        if self.missing:
            said.append(f"{self.source}: {_count(self.missing, 'missing tensor')}, e.g. {self.missing[0]}.")
        if self.unexpected:
            said.append(f"{self.source}: {_count(self.unexpected, 'unexpected tensor')}, e.g. {self.unexpected[0]}.")
        if self.misshapen:
            name, (theirs, ours) = next(iter(self.misshapen.items()))
            said.append(
                f"{self.source}: {_count(self.misshapen, 'tensor')} of another shape, e.g. {name}: {theirs} where the "
                f"network has {ours}."
            )
        return said

    @property
    def faults(self) -> list[str]:
        """The mismatches, and one sentence on values that are not finite."""
        if not self.not_finite:
            return self.mismatches
        tensors = _count(self.not_finite, "tensor")
        return [
            *self.mismatches,
            f"{self.source}: {tensors} of the network with values that are not finite, e.g. {self.not_finite[0]}.",
        ]


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
    """Compare the tensors of a file with a network; nothing is loaded.

    Args:
        module: the network.
        state: tensors under the network's names.
        source: the file, for messages.
        drop: prefixes of names to leave out on purpose; with a leading ``*``, suffixes.
        dropped: names in the file that were left out before.
        fresh: prefixes of names that the file may lack; these tensors stay as they are.
        sha256: of the file.
    """
    own = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    left_out = {name for name in state if _is_dropped(name, drop)}
    kept = {name: tensor for name, tensor in state.items() if name not in left_out}
    shapes = {name: tuple(tensor.shape) for name, tensor in kept.items()}
    wanted = [name for name in own if not name.endswith(_COUNTER)]
    return LoadReport(
        source,
        sum(own.get(name) == shape for name, shape in shapes.items()),
        len(wanted),
        dropped=(*dropped, *(name for name in state if name in left_out)),
        missing=tuple(name for name in wanted if name not in kept and not name.startswith(tuple(fresh))),
        unexpected=tuple(name for name in kept if name not in own and not name.endswith(_COUNTER)),
        misshapen={name: (shape, own[name]) for name, shape in shapes.items() if name in own and own[name] != shape},
        sha256=sha256,
    )


def load_strictly(
    module: "nn.Module",
    state: Mapping[str, "Tensor"],
    *,
    source: str,
    drop: Sequence[str] = (),
    dropped: Sequence[str] = (),
    fresh: Sequence[str] = (),
    sha256: str = "",
    allow_partial: bool = False,
    next: str = "segbench weights list",
) -> LoadReport:
    """Copy ``state`` into ``module``; every tensor must fit and be finite, or nothing is loaded.

    Counters of batch norm (``num_batches_tracked``), which old files lack, may be missing. Tables that grow
    (`segbench.models.growing.Growing`) get as many rows as the file has.

    Args:
        module: the network.
        state: tensors under the network's names.
        source: as in `match`, like ``drop``, ``dropped``, ``fresh`` and ``sha256``.
        allow_partial: load what fits even if names or shapes differ; values must be finite all the same.
        next: what to do about names or shapes that differ.

    Raises:
        InvalidFault: one line each for missing, unexpected, misshapen and not finite tensors.
    """
    from segbench.models.growing import make_room  # imports torch, which reading the table of weights does not need

    make_room(module, state)
    report = match(module, state, source=source, drop=drop, dropped=dropped, fresh=fresh, sha256=sha256)
    left_out = {*report.dropped, *report.unexpected, *report.misshapen}
    own = module.state_dict().keys()
    fitting = {name: tensor for name, tensor in state.items() if name in own and name not in left_out}
    not_finite = tuple(name for name, tensor in fitting.items() if not bool(tensor.isfinite().all()))
    report = replace(report, not_finite=not_finite)
    if report.mismatches and not allow_partial:
        raise InvalidFault(*report.faults, next=next)
    if report.not_finite:
        raise InvalidFault(
            *report.faults, next="segbench eval --checkpoint FILE, with one saved before its training diverged"
        )
    module.load_state_dict(fitting, strict=False)
    return report


def _is_dropped(name: str, drop: Sequence[str]) -> bool:
    return any(name.endswith(each[1:]) if each.startswith("*") else name.startswith(each) for each in drop)


def _count(names: Collection[str], noun: str) -> str:
    return f"{len(names):,} {noun}{'' if len(names) == 1 else 's'}"
