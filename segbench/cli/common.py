"""Options that mean the same everywhere, and small helpers. Imports nothing heavy."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segbench.core.errors import UsageFault

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from segbench.recipe.catalog import Catalog
    from segbench.results.store import Store

PIPE_WIDTH = 140

Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only the answer.")]
DataRoot = Annotated[
    Path | None, typer.Option("--data-root", help="Folder of all data sets. [env: SEGBENCH_DATA]", show_default=False)
]
Out = Annotated[
    Path | None, typer.Option("--out", help="Folder of runs and records. [env: SEGBENCH_RESULTS]", show_default=False)
]
Recipe = Annotated[
    Path | None, typer.Option("--recipe", help="A recipe file of your own, added to the catalog.", show_default=False)
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
Precision = Annotated[str, typer.Option("--precision", help="auto, float32 or bfloat16.")]
Readings = Annotated[
    list[str] | None,
    typer.Option("--reading", help="NAME=OPTION: another answer to an open point. Repeatable.", show_default=False),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="PATH=VALUE: change one setting; a deviation. Repeatable.", show_default=False),
]


def open_catalog(recipe: Path | None = None) -> "Catalog":
    """The recipes that come with segbench, and the user's own file."""
    from segbench.recipe.catalog import add_file, load_catalog, recipes_root

    catalog = load_catalog(recipes_root())
    if recipe is not None:
        if not recipe.is_file():
            raise UsageFault(f"There is no recipe file {recipe}.", next="segbench list")
        add_file(catalog, recipe)
    return catalog


def open_store(out: Path | None) -> "Store":
    from segbench.results.store import Store

    return Store(out)


def split_target(target: str) -> tuple[str, str | None]:
    """``TABLE`` or ``TABLE/ROW``."""
    table, _, row = target.partition("/")
    return table, row or None


def pairs(given: list[str] | None, flag: str) -> tuple[tuple[str, str], ...]:
    """``KEY=VALUE`` options as pairs.

    Raises:
        UsageFault: one has no ``=``.
    """
    found = []
    for item in given or []:
        key, equals, value = item.partition("=")
        if not equals or not key:
            raise UsageFault(f"{flag} takes KEY=VALUE, got {item!r}.", next="segbench reproduce --help")
        found.append((key, value))
    return tuple(found)


def settings(given: list[str] | None) -> tuple[tuple[str, Any], ...]:
    """``--set`` options with their values read as YAML.

    Raises:
        UsageFault: a value does not read.
    """
    from segbench.recipe.strict_yaml import parse_scalar

    found = []
    for key, text in pairs(given, "--set"):
        try:
            found.append((key, parse_scalar(text)))
        except ValueError as error:
            raise UsageFault(f"--set {key}: {error}.", next="segbench reproduce --help") from error
    return tuple(found)


def print_json(data: Any) -> None:
    """JSON on standard output; NaN is refused."""
    typer.echo(json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False))


def console(*, err: bool = False) -> "Console":
    """A rich console that behaves as a pipe when it is one."""
    from rich.console import Console

    stream = sys.stderr if err else sys.stdout
    if stream.isatty():
        return Console(stderr=err, highlight=False)
    return Console(stderr=err, highlight=False, width=PIPE_WIDTH, no_color=True)


def show(*renderables: "RenderableType", err: bool = False) -> None:
    target = console(err=err)
    for renderable in renderables:
        target.print(renderable)


def duration(seconds: float | None) -> str:
    """``3 d 4 h``, ``2 h 05 min``, ``6 min``, ``40 s``."""
    if seconds is None:
        return "-"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes:02d} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h"


def gigabytes(count: int | None) -> str:
    return "-" if count is None else f"{count / 1e9:.1f} GB"
