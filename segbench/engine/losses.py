"""Losses of a training, kept on the device until somebody asks."""

from typing import Any

import torch
from torch import Tensor, nn

from segbench.core.errors import RunFault


def not_finite(fault: str) -> RunFault:
    """The fault of a training that ran away."""
    return RunFault(
        f"{fault} The state before is kept.",
        next="the same command with --set schedule.optimizer.lr=SMALLER, or --precision float32",
    )


def require_finite(method: nn.Module, optimizer: torch.optim.Optimizer, *, step: int, device: str) -> None:
    """A finite loss can have a gradient that is not; what it leads to must not take a good state's place.

    Raises:
        RunFault: a weight, a buffer or the optimiser's memory of a weight is not finite.
    """
    tensors = dict(method.state_dict())
    for number, memory in enumerate(optimizer.state.values()):
        tensors |= {f"the optimiser's {key} {number}": value for key, value in memory.items()}
    tensors = {name: value for name, value in tensors.items() if isinstance(value, Tensor)}
    finite = torch.stack([value.isfinite().all().to(device) for value in tensors.values()]).tolist()
    bad = [name for name, fine in zip(tensors, finite, strict=True) if not fine]
    if bad:
        raise not_finite(f"{len(bad)} tensors, such as {bad[0]}, are not finite after step {step:,}.")


class LossMeter:
    """Adds up named terms; only ``fetch`` waits for the device."""

    def __init__(self) -> None:
        self._names: tuple[str, ...] = ()
        self._pending: list[Tensor] = []
        self._first = 0
        self._sums: dict[str, float] = {}
        self._steps = 0

    def add(self, names: tuple[str, ...], values: Tensor, *, step: int) -> None:
        """Terms (K,) of one step, detached."""
        if not self._pending:
            self._first = step
        self._names = names
        self._pending.append(values)

    def fetch(self) -> dict[str, float]:
        """Mean of each term since the last fetch; empty if there was no step.

        Raises:
            RunFault: a term was not finite; names it and the step.
        """
        if not self._pending:
            return {}
        values = torch.stack(self._pending).cpu()
        self._pending = []
        bad = (~torch.isfinite(values)).nonzero()
        if len(bad):
            row, column = bad[0].tolist()
            value, step = values[row, column].item(), self._first + row + 1
            raise not_finite(f"The loss {self._names[column]!r} became {value} at step {step:,}.")
        for name, value in zip(self._names, values.double().sum(0).tolist(), strict=True):
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._steps += len(values)
        return dict(zip(self._names, values.mean(0).tolist(), strict=True))

    def take(self) -> dict[str, float]:
        """Mean of each term over everything fetched since the last ``take``, which begins anew."""
        means = {name: value / self._steps for name, value in self._sums.items()}
        self._sums, self._steps = {}, 0
        return means

    def state_dict(self) -> dict[str, Any]:
        """What was fetched and not yet taken."""
        return {"sums": self._sums, "steps": self._steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with another meter's sums."""
        self._sums, self._steps = dict(state["sums"]), state["steps"]
