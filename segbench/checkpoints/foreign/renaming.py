"""Names of another project's tensors and segbench's, in both directions."""

from dataclasses import dataclass

from torch import Tensor

from segbench.core.errors import InvalidFault

from .family import State

Pair = tuple[str, str]  # a module of the other project and the same module here


@dataclass(frozen=True)
class Names:
    """Which module of another project is which of segbench.

    Attributes:
        pairs: names of modules, theirs and ours. Of several that a tensor lies in, the innermost decides, and what
            follows its name is kept.
    """

    pairs: tuple[Pair, ...]

    def ours(self, state: State) -> dict[str, Tensor]:
        """A file's tensors under segbench's names; what has no place keeps its own.

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

    def theirs(self, state: State, *, title: str) -> dict[str, Tensor]:
        """Segbench's tensors under the names of the project called ``title``.

        Raises:
            InvalidFault: a tensor has no place there.
        """
        table = {ours: theirs for theirs, ours in self.pairs}
        found: dict[str, Tensor] = {}
        homeless: list[str] = []
        for name, tensor in state.items():
            other = _renamed(name, table)
            if other is None:
                homeless.append(name)
            else:
                found[other] = tensor
        if homeless:
            raise InvalidFault(
                f"{title} has no place for {len(homeless):,} tensors of this network, e.g. {homeless[0]}.",
                next="segbench weights list",
            )
        return found


def _renamed(name: str, table: dict[str, str]) -> str | None:
    """The name with the innermost module that the table has replaced; None if it has none."""
    module = name
    while module:
        module = module.rpartition(".")[0]
        if module in table:
            return table[module] + name[len(module) :]
    return None
