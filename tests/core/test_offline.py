"""Messages of network errors, and the silence of the hub's library."""

import logging

from segbench.core.offline import hub_quiet, root_cause


def wrapped(error: Exception, *messages: str) -> BaseException:
    """An error as libraries hand it on: each message raised from the one before."""
    for message in messages:
        try:
            raise OSError(message) from error
        except OSError as outer:
            error = outer
    return error


def test_the_reason_is_at_the_bottom() -> None:
    root = TimeoutError("nobody\n answers")
    assert root_cause(root) == "nobody answers"
    assert root_cause(wrapped(root, "the hub is lost", "please check your connection")) == "nobody answers"
    assert root_cause(TimeoutError()) == "TimeoutError"
    assert root_cause(OSError("x" * 500), limit=20) == "x" * 20


def test_an_error_raised_while_another_was_handled_counts_too() -> None:
    try:
        try:
            raise ConnectionError("refused")
        except ConnectionError:
            raise OSError("not in the cache")  # noqa: B904
    except OSError as error:
        assert root_cause(error) == "refused"


def test_circles_end() -> None:
    one, other = OSError("one"), OSError("other")
    one.__cause__, other.__cause__ = other, one
    assert root_cause(one) == "other"


def test_the_hub_is_quiet_and_then_as_before() -> None:
    logger = logging.getLogger("huggingface_hub")
    from huggingface_hub.utils import logging as hub

    hub.set_verbosity_warning()
    with hub_quiet():
        assert not logger.isEnabledFor(logging.WARNING)
        assert logger.isEnabledFor(logging.ERROR)
    assert logger.isEnabledFor(logging.WARNING)
