"""Switches that keep segbench off the network, and the log level and errors of ``huggingface_hub``."""

import contextlib
import os
from collections.abc import Iterator

_SWITCHES = ("SEGBENCH_OFFLINE", "HF_HUB_OFFLINE")
_ON = {"1", "on", "yes", "true"}  # as huggingface_hub reads its own


def offline() -> str:
    """Return the name of the environment variable that forbids the network; empty if none does."""
    return next((name for name in _SWITCHES if os.environ.get(name, "").strip().lower() in _ON), "")


@contextlib.contextmanager
def hub_offline() -> Iterator[None]:
    """Keep ``huggingface_hub`` off the network inside the ``with`` block.

    Some versions of it send a request about the calling program even when only the cache is searched.
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
    """Silence the warning that ``huggingface_hub`` logs for every retry, inside the ``with`` block."""
    from huggingface_hub.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def root_cause(error: BaseException, *, limit: int = 160) -> str:
    """Return the message of the innermost cause of a network error on one line; libraries wrap it in their own."""
    seen = {id(error)}
    while (inner := error.__cause__ or error.__context__) is not None and id(inner) not in seen:
        seen.add(id(inner))
        error = inner
    return " ".join(str(error).split())[:limit] or type(error).__name__
