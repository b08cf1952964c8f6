"""What the text of a configuration states in so many words. The text is read, and never executed.

MMSegmentation writes its configuration into its checkpoints as Python (``Config.pretty_text``): assignments of calls of
``dict``, lists, tuples, strings and numbers. Nothing else is understood; what is not plain data counts as unsaid.
"""

import ast
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

_LONGEST = 1 << 20  # characters; those of the project have some thousands
_UNSAID = object()


def parse_configuration(text: object) -> dict[str, Any]:
    """Values by the names that the text assigns them to, as far as they are plain data; empty where it is no such text.

    Args:
        text: a string; anything else states nothing.
    """
    if not isinstance(text, str) or len(text) > _LONGEST:
        return {}
    found: dict[str, Any] = {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what a text of somebody else's is badly written in is no concern here
            body = ast.parse(text).body
        for statement in body:
            if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
                target = statement.targets[0]
                value = _value(statement.value, found)
                if isinstance(target, ast.Name) and value is not _UNSAID:
                    found[target.id] = value
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}  # half a text could leave out the line that says otherwise
    return found


def stated(settings: object, path: str) -> Any:
    """The value at a path such as ``model.decode_head.align_corners``; None where nothing is said.

    Numbers index lists: of ``model.decode_head.-1.align_corners`` the last.
    """
    for part in path.split("."):
        if isinstance(settings, Mapping):
            settings = settings.get(part)
        elif isinstance(settings, Sequence) and not isinstance(settings, str) and part.lstrip("-").isdigit():
            place = int(part)
            settings = settings[place] if -len(settings) <= place < len(settings) else None
        else:
            return None
    return settings


def whole_numbers(value: object) -> tuple[int, ...] | None:
    """A list of whole numbers as a tuple; None where it is none."""
    if not isinstance(value, list | tuple) or not value:
        return None
    if not all(isinstance(each, int) and not isinstance(each, bool) and abs(each) < 1 << 20 for each in value):
        return None
    return tuple(value)


def numbers(value: object, count: int) -> tuple[float, ...] | None:
    """A list of so many numbers as a tuple; None where it is none."""
    if not isinstance(value, list | tuple) or len(value) != count:
        return None
    if not all(isinstance(each, int | float) and not isinstance(each, bool) and abs(each) < 1e6 for each in value):
        return None
    return tuple(float(each) for each in value)


def _value(node: ast.expr, known: Mapping[str, Any]) -> Any:
    """A literal, a call of ``dict``, or a name that was assigned before; `_UNSAID` where it is none of these."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return known.get(node.id, _UNSAID)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = _value(node.operand, known)
        return -value if isinstance(value, int | float) else _UNSAID
    if isinstance(node, ast.List | ast.Tuple):
        items = [_value(each, known) for each in node.elts]
        # a place must keep its number
        items = [None if each is _UNSAID else each for each in items]
        return tuple(items) if isinstance(node, ast.Tuple) else items
    if isinstance(node, ast.Dict):
        keys = [_UNSAID if key is None else _value(key, known) for key in node.keys]
        return _entries(zip(keys, node.values, strict=True), known)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict" and not node.args:
        return _entries(((word.arg, word.value) for word in node.keywords), known)
    return _UNSAID


def _entries(pairs: Any, known: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for key, node in pairs:
        value = _value(node, known)
        if isinstance(key, str) and value is not _UNSAID:
            found[key] = value
    return found
