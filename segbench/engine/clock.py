"""Timing of training steps, without their data and without making the device wait."""

import statistics
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from .runtime import Runtime

WARMUP_STEPS = 10  # of every run, in which kernels are chosen and memory is allocated
KEPT_STEPS = 1000  # the last ones, so that losses that start later count


class StepClock:
    """Timer of steps, from the batch on the device to the new weights.

    On a CPU a step is done when it returns. On CUDA, events in the queue mark its begin and end and are read later, so
    waiting for the next batch counts to no step.

    Args:
        runtime: tells the device.
        seconds: of earlier steps, when a training resumes.
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
        """Wait for the device and return the seconds of the steps kept, oldest first."""
        if self._pending:
            self._pending[-1][1].synchronize()
            self._seconds.extend(begin.elapsed_time(end) / 1000 for begin, end in self._pending)
            self._pending = []
        return list(self._seconds)

    def median(self) -> float | None:
        """Return the median seconds of a step; None before the first one after the warm-up."""
        seconds = self.fetch()
        return statistics.median(seconds) if seconds else None
