"""Positions within a training, for tests that call a method themselves."""

from segbench.methods.step import StepInfo


def at(step: int, *, steps: int = 10**9, micro_batch: int = 0) -> StepInfo:
    """Return the position of a step, by default at the very beginning of a long training."""
    return StepInfo(step, steps, micro_batch=micro_batch)
