"""Losses of a training, kept on the device until they are fetched."""

from typing import Any

import torch
from torch import Tensor, nn

from segbench.core.errors import RunFault


def not_finite(fault: str) -> RunFault:
    """Return the fault of a training that has diverged."""
    return RunFault(
        f"{fault} The state before is kept.",
        next="the same command with --set schedule.optimizer.lr=SMALLER, or --precision float32",
    )


def require_finite(method: nn.Module, optimizer: torch.optim.Optimizer, *, step: int, device: str) -> None:
    """Raise on NaN or Inf, so that a diverged state never overwrites the checkpoint.

    A finite loss may have an infinite gradient, so the loss does not tell.

    Raises:
        RunFault: a weight, a buffer or the optimiser's state of a weight is not finite.
    """
    tensors = dict(method.state_dict())
    for number, state in enumerate(optimizer.state.values()):
        tensors |= {f"the optimiser's {key} {number}": value for key, value in state.items()}
    tensors = {name: value for name, value in tensors.items() if isinstance(value, Tensor)}
    finite = torch.stack([value.isfinite().all().to(device) for value in tensors.values()]).tolist()
    bad = [name for name, fine in zip(tensors, finite, strict=True) if not fine]
    if bad:
        raise not_finite(f"{len(bad)} tensors, such as {bad[0]}, are not finite after step {step:,}.")


class LossMeter:
    """Running means of named losses; only ``fetch`` waits for the device."""

    def __init__(self) -> None:
        self._names: tuple[str, ...] = ()
        self._pending: list[Tensor] = []
        self._first = 0
        self._sums: dict[str, float] = {}
        self._steps = 0

    def add(self, names: tuple[str, ...], values: Tensor, *, step: int) -> None:
        """Add the losses (K,) of one step, detached."""
        if not self._pending:
            self._first = step
        self._names = names
        self._pending.append(values)

    def fetch(self) -> dict[str, float]:
        """Return the mean of each loss since the last fetch; empty if there was no step.

        Raises:
            RunFault: a loss was not finite; names it and the step.
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
        """Return the mean of each loss over all fetched since the last ``take``, and reset."""
        means = {name: value / self._steps for name, value in self._sums.items()}
        self._sums, self._steps = {}, 0
        return means

    def state_dict(self) -> dict[str, Any]:
        """Return the sums that were fetched and not yet taken."""
        return {"sums": self._sums, "steps": self._steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load the sums of another meter."""
        self._sums, self._steps = dict(state["sums"]), state["steps"]
