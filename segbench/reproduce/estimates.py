"""Seconds and memory of everything that a plan would run."""

from typing import Any

from segbench.capacity.time import Probe, estimate, steps_done
from segbench.engine.runtime import Runtime

from .folders import Folders
from .plan import Plan


def estimate_plan(plan: Plan, runtime: Runtime, folders: Folders) -> None:
    """Fill in seconds and memory of every item that runs; equal networks and methods are probed once.

    What is trained already takes no time again, and the item says from which step its training goes on.

    Raises:
        InvalidFault: an evaluation asks for features of a layer that the network does not have.
    """
    probes: dict[Any, Probe] = {}
    for spec, items in plan.trainings().values():
        evaluation = items[0].resolved.scored
        if evaluation is None:
            continue
        done = steps_done(spec, folders.store)
        found = estimate(spec, evaluation, runtime, probes, done=done)
        items[0].seconds, items[0].memory_bytes = found.seconds, found.memory_bytes
        if any(done):
            items[0].reason = f"(from step {sum(done):,})"
