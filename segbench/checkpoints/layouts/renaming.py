"""Tensor names of another project and of segbench, in both directions."""

from dataclasses import dataclass

from torch import Tensor

from segbench.core.errors import InvalidFault

from ..family import StateDict

Pair = tuple[str, str]  # name of a module in the other project, and of the same module here


@dataclass(frozen=True)
class ModuleNames:
    """A table of the modules of another project and of segbench.

    Attributes:
        pairs: names of modules, theirs and ours. The innermost of them that holds a tensor is replaced in its name.
    """

    pairs: tuple[Pair, ...]

    def to_segbench(self, state: StateDict) -> dict[str, Tensor]:
        """Return a file's tensors under segbench's names; those in no module of the table keep their own.

        Raises:
            InvalidFault: two tensors would have one name.
        """
        table = dict(self.pairs)
        found: dict[str, Tensor] = {}
        origin: dict[str, str] = {}
        for name, tensor in state.items():
            own = _renamed(name, table) or name
            if own in found:
                raise InvalidFault(f"{origin[own]} and {name} would both be {own}.", next="segbench weights list")
            found[own], origin[own] = tensor, name
        return found

    def from_segbench(self, state: StateDict, *, title: str) -> dict[str, Tensor]:
        """Return segbench's tensors under the names of the project called ``title``.

        Raises:
            InvalidFault: a tensor is in no module of the table.
        """
        table = {ours: theirs for theirs, ours in self.pairs}
        found: dict[str, Tensor] = {}
        unplaced: list[str] = []
        for name, tensor in state.items():
            other = _renamed(name, table)
            if other is None:
                unplaced.append(name)
            else:
                found[other] = tensor
        if unplaced:
            raise InvalidFault(
                f"{title} has no module for {len(unplaced):,} tensors of this network, e.g. {unplaced[0]}.",
                next="segbench weights list",
            )
        return found


def _renamed(name: str, table: dict[str, str]) -> str | None:
    """Return the name with the innermost module of the table replaced; None if there is none."""
    module = name
    while module:
        module = module.rpartition(".")[0]
        if module in table:
            return table[module] + name[len(module) :]
    return None
