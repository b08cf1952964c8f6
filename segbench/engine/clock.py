"""How long a training step takes: without its data, and without making the device wait."""

import statistics
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from .runtime import Runtime

WARMUP_STEPS = 10  # of every run: kernels are chosen and memory is found in the first steps
KEPT_STEPS = 1000  # the last ones; a loss that sets in later is among them


class StepClock:
    """Times steps from the batch on the device to the new weights.

    A CPU has done a step when it returns. A CUDA device is asked later: events mark a step's begin and end in its
    queue, so a wait for the next batch lies between two steps and in none.

    Args:
        runtime: the machine.
        seconds: of steps before, where a training goes on.
    """

    def __init__(self, runtime: Runtime, seconds: Sequence[float] = ()) -> None:
        self._cuda = runtime.is_cuda
        self._seconds: deque[float] = deque(seconds, maxlen=KEPT_STEPS)
        self._pending: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []
        self._left_out = WARMUP_STEPS

    @contextmanager
    def step(self) -> Iterator[None]:
        """Time one step."""
        if self._left_out:
            self._left_out -= 1
            yield
        elif self._cuda:
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            yield
            end.record()
            self._pending.append((begin, end))
        else:
            start = time.perf_counter()
            yield
            self._seconds.append(time.perf_counter() - start)

    def fetch(self) -> list[float]:
        """Seconds of the steps kept, oldest first. Waits for the device."""
        if self._pending:
            self._pending[-1][1].synchronize()
            self._seconds.extend(begin.elapsed_time(end) / 1000 for begin, end in self._pending)
            self._pending = []
        return list(self._seconds)

    def median(self) -> float | None:
        """Seconds of a step; None before the first after the warm-up."""
        seconds = self.fetch()
        return statistics.median(seconds) if seconds else None
