"""Whether the network may be used."""

import contextlib
import os
from collections.abc import Iterator

_SWITCHES = ("SEGBENCH_OFFLINE", "HF_HUB_OFFLINE")
_ON = {"1", "on", "yes", "true"}  # as huggingface_hub reads its own


def offline() -> str:
    """Name of the environment variable that forbids the network; empty if none does."""
    return next((name for name in _SWITCHES if os.environ.get(name, "").strip().lower() in _ON), "")


@contextlib.contextmanager
def hub_at_rest() -> Iterator[None]:
    """Meanwhile ``huggingface_hub`` asks nobody anything.

    Some versions of it ask the hub about the program that calls them even when only the cache is looked into.
    """
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
