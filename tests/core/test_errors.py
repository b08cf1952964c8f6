"""What is told of another library's fault."""

import pytest

from segbench.core.errors import first_line

LONG = "x" * 500


@pytest.mark.parametrize(
    ("error", "said", "named"),
    [
        (ValueError("one\ntwo"), "one", "ValueError: one"),
        (ValueError("\n  two \t words\n"), "two words", "ValueError: two words"),
        (EOFError(), "EOFError", "EOFError"),
        (OSError("  \n "), "OSError", "OSError"),
        (KeyError(3), "3", "KeyError: 3"),
        (RuntimeError(LONG), LONG[:200], "RuntimeError: " + LONG[:200]),
    ],
)
def test_one_line_whatever_is_said(error, said, named):
    assert first_line(error) == said
    assert first_line(error, named=True) == named
