"""The processes that work on one job together."""

from dataclasses import dataclass


@dataclass(frozen=True)
class World:
    """This process among those that share a job.

    Attributes:
        rank: index of this process; rank 0 writes.
        size: number of processes.
    """

    rank: int = 0
    size: int = 1
