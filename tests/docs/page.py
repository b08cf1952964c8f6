"""What a page of the docs holds: files to copy out, and commands with what they print."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
_BLOCK = re.compile(r"^```(?P<info>[^\n]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
_CAPTION = re.compile(r":caption: (?P<path>\S+)\n")
_EXIT = re.compile(r"\s+# exit code (\d+)$")


@dataclass
class Command:
    """One command of a page.

    Attributes:
        words: the command and its arguments.
        code: its exit code.
        expected: lines that it prints, on either stream; ``...`` stands for anything.
    """

    words: list[str]
    code: int = 0
    expected: list[str] = field(default_factory=list)


def pages() -> list[Path]:
    """Return the pages with commands in them."""
    return [path for path in sorted(DOCS.rglob("*.md")) if "```console" in path.read_text(encoding="utf-8")]


def files(page: Path) -> dict[str, str]:
    """Return the files that a page shows whole, by path."""
    found = {}
    for block in _BLOCK.finditer(page.read_text(encoding="utf-8")):
        caption = _CAPTION.match(block["body"])
        if caption:
            found[caption["path"]] = block["body"][caption.end() :]
    return found


def commands(page: Path) -> Iterator[Command]:
    """Yield the commands of a page in order."""
    for block in _BLOCK.finditer(page.read_text(encoding="utf-8")):
        if block["info"] != "console":
            continue
        lines = block["body"].splitlines()
        for start, line in enumerate(lines):
            if not line.startswith("$ "):
                continue
            code = _EXIT.search(line)
            text = line[2 : code.start()] if code else line[2:]
            following = lines[start + 1 :]
            end = next((n for n, each in enumerate(following) if each.startswith("$ ")), len(following))
            expected = [each for each in following[:end] if each.strip() and each.strip() != "..."]
            yield Command(shlex.split(text), int(code[1]) if code else 0, expected)
