"""Strict YAML reader: no tags, anchors, yes/no booleans, underscores in integers or duplicate keys; keeps lines."""

import math
import re
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import yaml

Location = tuple[str, ...]


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Safe loader whose plain scalars follow YAML 1.2's core schema."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}


_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^(null|~|)$"), ["n", "~", ""])
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(true|false)$"), ["t", "f"])
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?[0-9]+$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$"),
    list("-+.0123456789"),
)
_UNDERSCORE_NUMBER = re.compile(r"^[-+]?[0-9][0-9_]*_[0-9_]*$")
_MAX_DEPTH = 30  # composing nodes is recursive; unbounded nesting would exhaust the stack


@dataclass
class Document:
    """One parsed file.

    Attributes:
        path: file that was read.
        data: plain Python data; mapping keys are strings or integers.
        lines: line number (from 1) of every key and list item, by location.
        faults: all errors of the text itself, each ``file:line: sentence``.
    """

    path: Path
    data: Any = None
    lines: dict[Location, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def where(self, location: Location) -> str:
        """Return ``file:line`` of ``location`` or of its nearest known ancestor."""
        for end in range(len(location), -1, -1):
            if location[:end] in self.lines:
                return f"{self.path.name}:{self.lines[location[:end]]}"
        return self.path.name


def load(path: Path) -> Document:
    """Parse one file. Faults are collected in the document, never raised."""
    document = Document(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        document.faults.append(f"{path.name}: cannot be read: {error}")
        return document
    _read(text, document)
    return document


def parse_scalar(text: str) -> Any:
    """Parse a value typed on the command line by the rules of a file; lists and maps in flow style.

    Raises:
        ValueError: the text is not a valid YAML value.
    """
    document = Document(Path("command line"))
    _read(text, document)
    if document.faults:
        raise ValueError(f"cannot read the value {text[:40]!r}: {document.faults[0].split(': ', 1)[1]}")
    return document.data


def _read(text: str, document: Document) -> None:
    name = document.path.name
    try:
        too_deep = _scan(text, document)
        root = None if too_deep else yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        if mark and (faults := _depth_faults(text[: mark.index], document.path)):
            document.faults = faults
            return
        problem = " ".join(" ".join(part for part in (error.context, error.problem) if part).split())
        document.faults.append(f"{name}:{mark.line + 1 if mark else 1}: {problem}")
        return
    except yaml.YAMLError as error:
        document.faults.append(f"{name}: {' '.join(str(error).split())}")
        return
    if root is not None:
        document.data = _construct(root, (), document, set())


def _depth_faults(text: str, path: Path) -> list[str]:
    """Return the faults of a text that the parser gave up on, if deep nesting is one of them; else none.

    Some versions of the parser have a depth limit of their own. Their look-ahead runs into it before they yield the
    first event, so `_scan` never gets to count. Cut where the parser gave up, the text yields its events.
    """
    document = Document(path)
    with suppress(yaml.YAMLError):
        if _scan(text, document):
            return document.faults
    return []


def _scan(text: str, document: Document) -> bool:
    """Record anchors, aliases and tags as faults. Return True, with a fault, if the nesting is too deep to build."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        where = f"{document.path.name}:{event.start_mark.line + 1 if event.start_mark else 1}"
        if getattr(event, "anchor", None):
            document.faults.append(f"{where}: anchors and aliases are not allowed")
        tag = getattr(event, "tag", None)
        if tag:
            document.faults.append(f"{where}: the tag {tag!r} is not allowed")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH:
            document.faults.append(f"{where}: more than {_MAX_DEPTH} levels deep")
            return True
    return False


def _construct(node: yaml.Node, location: Location, document: Document, seen: set[int]) -> Any:
    document.lines.setdefault(location, node.start_mark.line + 1)
    if id(node) in seen:  # an alias, already a fault
        return None
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, location, document, seen)
    if isinstance(node, yaml.SequenceNode):
        return [_construct(item, (*location, str(i)), document, seen) for i, item in enumerate(node.value)]
    return _scalar(node, location, document)


def _mapping(node: yaml.MappingNode, location: Location, document: Document, seen: set[int]) -> dict[Any, Any]:
    result: dict[Any, Any] = {}
    taken: set[str] = set()  # 4 and "4" are one key
    for key_node, value_node in node.value:
        key = _scalar(key_node, location, document) if isinstance(key_node, yaml.ScalarNode) else None
        line = key_node.start_mark.line + 1
        if not isinstance(key, str | int) or isinstance(key, bool):
            document.faults.append(f"{document.path.name}:{line}: a key must be a word or an integer")
            continue
        if str(key) in taken:
            document.faults.append(f"{document.path.name}:{line}: duplicate key {str(key)!r}")
            continue
        taken.add(str(key))
        here = (*location, str(key))
        document.lines[here] = line
        result[key] = _construct(value_node, here, document, seen)
    return result


def _scalar(node: yaml.Node, location: Location, document: Document) -> Any:
    line = f"{document.path.name}:{node.start_mark.line + 1}"
    kind, text = node.tag.rsplit(":", 1)[-1], node.value
    if kind == "str":
        plain = not getattr(node, "style", None)  # None, or "" from the C parser
        if plain and _UNDERSCORE_NUMBER.match(text):
            document.faults.append(f"{line}: write the integer {text} without underscores")
        return text
    if kind == "null":
        return None
    if kind == "bool":
        return text == "true"
    if kind not in ("int", "float"):
        return text  # has a tag, already a fault
    try:
        number = int(text) if kind == "int" and len(text) < 300 else float(text)
    except ValueError:
        return text  # declared a number by a tag, already a fault
    if number in (math.inf, -math.inf):
        document.faults.append(f"{line}: the number {text[:20]} is too large")
    return number
