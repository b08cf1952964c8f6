"""Plain data in the text of a configuration, which is parsed and never executed.

MMSegmentation writes its configuration into its checkpoints as Python (``Config.pretty_text``): assignments of calls of
``dict``, lists, tuples, strings and numbers. Everything else is left out.
"""

import ast
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

_LONGEST = 1 << 20  # characters; those of the project have some thousands
_NOT_PLAIN = object()


def parse_config(text: object) -> dict[str, Any]:
    """Return the plain values by the names that the text assigns them to; empty if it cannot be parsed.

    Args:
        text: a string; anything else has no values.
    """
    if not isinstance(text, str) or len(text) > _LONGEST:
        return {}
    found: dict[str, Any] = {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the style of somebody else's code
            body = ast.parse(text).body
        for statement in body:
            if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
                target = statement.targets[0]
                value = _value(statement.value, found)
                if isinstance(target, ast.Name) and value is not _NOT_PLAIN:
                    found[target.id] = value
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}  # half a text could leave out the line that decides
    return found


def lookup(settings: object, path: str) -> Any:
    """Return the value at a path such as ``model.decode_head.align_corners``; None if there is none.

    Numbers index lists: ``model.decode_head.-1.align_corners`` is that of the last head.
    """
    for key in path.split("."):
        if isinstance(settings, Mapping):
            settings = settings.get(key)
        elif isinstance(settings, Sequence) and not isinstance(settings, str) and key.lstrip("-").isdigit():
            index = int(key)
            settings = settings[index] if -len(settings) <= index < len(settings) else None
        else:
            return None
    return settings


def as_ints(value: object) -> tuple[int, ...] | None:
    """Return a list of integers as a tuple; None for anything else."""
    if not isinstance(value, list | tuple) or not value:
        return None
    if not all(isinstance(each, int) and not isinstance(each, bool) and abs(each) < 1 << 20 for each in value):
        return None
    return tuple(value)


def as_floats(value: object, count: int) -> tuple[float, ...] | None:
    """Return a list of ``count`` numbers as a tuple; None for anything else."""
    if not isinstance(value, list | tuple) or len(value) != count:
        return None
    if not all(isinstance(each, int | float) and not isinstance(each, bool) and abs(each) < 1e6 for each in value):
        return None
    return tuple(float(each) for each in value)


def _value(node: ast.expr, known: Mapping[str, Any]) -> Any:
    """Evaluate a literal, a call of ``dict``, or a name that was assigned before; `_NOT_PLAIN` for anything else."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return known.get(node.id, _NOT_PLAIN)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = _value(node.operand, known)
        return -value if isinstance(value, int | float) else _NOT_PLAIN
    if isinstance(node, ast.List | ast.Tuple):
        items = [_value(each, known) for each in node.elts]
        # None keeps the indices of the others.
        items = [None if each is _NOT_PLAIN else each for each in items]
        return tuple(items) if isinstance(node, ast.Tuple) else items
    if isinstance(node, ast.Dict):
        keys = [_NOT_PLAIN if key is None else _value(key, known) for key in node.keys]
        return _entries(zip(keys, node.values, strict=True), known)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict" and not node.args:
        return _entries(((word.arg, word.value) for word in node.keywords), known)
    return _NOT_PLAIN


def _entries(pairs: Any, known: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for key, node in pairs:
        value = _value(node, known)
        if isinstance(key, str) and value is not _NOT_PLAIN:
            found[key] = value
    return found
