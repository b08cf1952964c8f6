"""``segbench eval``: score a checkpoint of anybody, or label files that any program wrote."""

from .command import command as command
