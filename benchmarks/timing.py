"""Timing that all benchmarks share: one thread, warm-up, median."""

import statistics
import time
from collections.abc import Callable

import torch


def median_seconds(function: Callable[[], object], *, warmup: int = 1, repeats: int = 5) -> float:
    """Median wall-clock seconds of a call on one thread; on CUDA the queue is emptied around each call."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        times = [_seconds(function) for _ in range(warmup + repeats)][warmup:]
    finally:
        torch.set_num_threads(threads)
    return statistics.median(times)


def _seconds(function: Callable[[], object]) -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    start = time.perf_counter()
    function()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start
