"""Progress of training and evaluation, in terms of the core's protocol."""

from collections.abc import Callable

from segbench.core.progress import Observer, Progress

__all__ = ["Observer", "Progress", "Silent", "watching"]

Silent = Observer


class _Stoppable(Observer):
    """Observer of preparation that also passes on a separate stop request."""

    def __init__(self, observer: Observer, stop: Callable[[], bool]) -> None:
        self.note = observer.note  # type: ignore[method-assign]
        self.report = observer.report  # type: ignore[method-assign]
        self.stop_requested = stop  # type: ignore[method-assign]


def watching(observer: Observer, stop: Callable[[], bool]) -> Observer:
    """Return an observer of images that are prepared, which reports them as a phase of the run."""
    return _Stoppable(observer, stop).phase("prepare")
