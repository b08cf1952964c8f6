"""The field's English, as far as a machine can hold it: openings of docstrings, and one meaning a word."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "segbench").rglob("*.py"))
OPENINGS = re.compile(r"(What|Whether|Where|How|Which|When|Who|Whose|The one that)\b")
# Words that had several meanings, or none that the field knows.
RETIRED = {
    "Again", "Asked", "Finisher", "Judged", "Lack", "Manners", "Subject", "Tried", "Unusable", "Way", "alone",
    "at_rest", "before_step", "dice", "elsewhere", "mean_over", "part", "parts",
}  # fmt: skip
MESSAGES = re.compile(r"\b(mean(s)? nothing to|mend(s|ed)?|amiss|go(es)? with)\b", flags=re.IGNORECASE)


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def definitions(path: Path) -> Iterator[ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield a module and everything that is defined in it."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def names(path: Path) -> Iterator[str]:
    """Yield every name of a module that others may meet: its own, classes, functions, arguments and attributes."""
    yield path.stem
    for node in ast.walk(tree(path)):
        match node:
            case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                yield node.name
            case ast.arg():
                yield node.arg
            case ast.Attribute(ctx=ast.Store()):
                yield node.attr


def messages(path: Path) -> Iterator[str]:
    """Yield every string of a module that is not a docstring."""
    docstrings = {
        id(node.body[0].value)
        for node in definitions(path)
        if node.body and isinstance(node.body[0], ast.Expr) and isinstance(node.body[0].value, ast.Constant)
    }
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_docstrings_say_what_a_thing_is_or_does(path: Path) -> None:
    found = [text.splitlines()[0] for node in definitions(path) if (text := ast.get_docstring(node))]
    assert [line for line in found if OPENINGS.match(line)] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_retired_words_stay_retired(path: Path) -> None:
    assert sorted(set(names(path)) & RETIRED) == []
    assert [text for text in messages(path) if MESSAGES.search(text)] == []


def test_a_class_name_has_one_meaning() -> None:
    classes = Counter(
        node.name
        for path in FILES
        for node in definitions(path)
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    entries = {"Options", "Reader"}  # one an entry, by design
    shared = {name for name in ("Source", "Protocol", "Budget", "Progress", "Split", "Finding") if classes[name] > 1}
    assert shared - entries == set()
