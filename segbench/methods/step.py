"""Position of a forward pass within its training; free of torch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class World:
    """Processes that train one network together.

    Attributes:
        rank: index of this process.
        size: number of processes.
    """

    rank: int = 0
    size: int = 1


@dataclass(frozen=True)
class StepInfo:
    """Position of a forward pass within its training.

    Attributes:
        step: optimiser steps done so far.
        steps: optimiser steps of the whole stage.
        micro_batch: index of the micro-batch; 0 unless gradients are accumulated.
        micro_batches: micro-batches that each batch is split into.
        world: processes that share the batch.
    """

    step: int
    steps: int
    micro_batch: int = 0
    micro_batches: int = 1
    world: World = World()

    @property
    def progress(self) -> float:
        """Fraction of the stage that is done, 0 at its first step and 1 after its last."""
        return min(self.step / self.steps, 1.0)
