"""Output formats of a report.

Every module of this package is a format, and so is every entry point ``segbench.formats`` of an installed package, see
``segbench.core.registry``. A format defines ``render(reports, options)``, which returns the text of some reports; the
first line of its docstring describes it.
"""

import ast
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from segbench.core.errors import UsageFault

if TYPE_CHECKING:  # the command line lists the formats without loading any
    from segbench.results.render.options import RenderOptions
    from segbench.results.verdicts import TableReport


class Format(Protocol):
    """A module of this package."""

    def render(self, reports: "Sequence[TableReport]", options: "RenderOptions") -> str:
        """Return the reports as text."""


@cache
def formats() -> dict[str, str]:
    """Return the description of each of segbench's own formats by its name, without importing any."""
    files = [path for path in sorted(Path(__file__).parent.glob("*.py")) if path.stem != "__init__"]
    return {path.stem.replace("_", "-"): _description(path) for path in files}


def check_format(name: str) -> None:
    """Raise if there is no such format.

    Raises:
        UsageFault: unknown name; close names are suggested.
    """
    from segbench.core import registry

    known = registry.names("format")
    if name not in known:
        raise UsageFault(f"No format {name!r}. {registry.choices(name, known)}.", next="segbench report --help")


def load_format(name: str) -> Format:
    """Import a format.

    Raises:
        UsageFault: unknown name; close names are suggested.
        InvalidFault: the format of an installed package cannot be imported.
    """
    from segbench.core import registry

    check_format(name)
    return cast(Format, registry.implementation("format", name))


def render(
    reports: "TableReport | Sequence[TableReport]",
    form: str = "terminal",
    *,
    per_class: bool = False,
    width: int = 100,
    color: bool = False,
    brief: bool = False,
) -> str:
    """Render one or several reports in one format.

    Args:
        reports: reports of ``compare_table`` or ``compare_tables``.
        form: name of a format, see ``formats``.
        per_class: show the IoU of every class as well; some formats always hold it, others have no place for it.
        width: columns of the terminal.
        color: allow colour codes of a terminal.
        brief: of the terminal, deviations in a line a section.

    Raises:
        UsageFault: no such format.
    """
    from segbench.results.render.options import RenderOptions
    from segbench.results.verdicts import TableReport

    every = [reports] if isinstance(reports, TableReport) else list(reports)
    return load_format(form).render(every, RenderOptions(per_class, width, color, brief))


def _description(path: Path) -> str:
    """Return the first line of a module's docstring, read from its source."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0].rstrip(".")
