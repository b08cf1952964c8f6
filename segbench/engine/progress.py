"""Progress of training and evaluation, in terms of the core's protocol."""

import time
from collections.abc import Callable

from segbench.core.progress import Observer, Progress
from segbench.data.watch import Watch

__all__ = ["Observer", "Progress", "Silent", "watching"]

Silent = Observer


def watching(observer: Observer, stop: Callable[[], bool]) -> Watch:
    """Somebody who watches a run, as one who watches images being prepared."""
    began: list[tuple[float, int]] = []

    def progress(done: int, total: int) -> None:
        now = time.perf_counter()
        if not began or done <= began[0][1]:  # the first image of a split, or of what a kill left of it
            began[:] = [(now, done)]
        speed = (done - began[0][1]) / max(now - began[0][0], 1e-9)
        left = (total - done) / speed if speed else None
        observer.report(Progress("prepare", done, total, images_per_second=speed, seconds_left=left))

    return Watch(progress, observer.note, stop)
