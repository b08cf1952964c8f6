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


@contextlib.contextmanager
def hub_quiet() -> Iterator[None]:
    """Meanwhile ``huggingface_hub`` tries as often as it does, and does not write a line a try."""
    from huggingface_hub.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def why(error: BaseException, *, limit: int = 160) -> str:
    """What is at the bottom of a fault of the network, on one line: libraries wrap it in sentences of their own."""
    seen = {id(error)}
    while (inner := error.__cause__ or error.__context__) is not None and id(inner) not in seen:
        seen.add(id(inner))
        error = inner
    return " ".join(str(error).split())[:limit] or type(error).__name__
