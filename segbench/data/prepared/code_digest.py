"""Digests of the code that decodes images: changed words or layout keep them, changed behaviour does not."""

import ast
import contextlib
import hashlib
from functools import cache
from pathlib import Path

import cv2

from segbench.core.spec import digest

_DATA = Path(__file__).parents[1]
# A class table counts through its values, see ``cache.Split.head``.
_DECODING = ("images.py", "layouts.py", "prepared/decode.py", "resample.py", "truncation.py")
_NOT_DECODING = ("__init__.py", "options.py", "server.py")  # in the folder of a data set


def decoding_digest(reader: Path) -> str:
    """Return the digest of all code that makes the pixels of a data set.

    Args:
        reader: file of the function that reads the label files.
    """
    beside = [reader]
    if reader.parent.parent == _DATA / "sets":
        beside = sorted(path for path in reader.parent.iterdir() if path.is_file() and path.name not in _NOT_DECODING)
    sources = []
    for path in [*(_DATA / name for name in _DECODING), *beside]:
        with contextlib.suppress(OSError):  # a package that is read from an archive has no files
            sources.append(code_digest(path))
    return digest([cv2.__version__, sources], length=32)


@cache
def code_digest(path: Path) -> str:
    """Return the digest of a file; of Python without comments, docstrings, layout, and the arguments of ``raise``.

    Raises:
        OSError: the file cannot be read.
    """
    data = path.read_bytes()
    if path.suffix == ".py":
        data = repr(_plain(ast.parse(data))).encode()
    return hashlib.sha256(data).hexdigest()


def _plain(node: object) -> object:
    """Return a syntax tree as nested tuples that are the same in every version of Python."""
    if isinstance(node, ast.Raise):
        return ("Raise",)  # no image comes out of it, whatever the message
    if isinstance(node, ast.AST):
        fields = dict(ast.iter_fields(node))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            fields["body"] = fields["body"][1:]
        named = ((name, _plain(value)) for name, value in fields.items() if name != "kind" and value not in (None, []))
        return (type(node).__name__, *named)
    return tuple(map(_plain, node)) if isinstance(node, list) else node
