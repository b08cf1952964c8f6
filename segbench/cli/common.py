"""Options that commands share, and small helpers. Imports nothing heavy."""

import json
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segbench.core.errors import UsageFault

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

    from segbench.recipe.catalog import Catalog
    from segbench.results.store import Store

PIPE_WIDTH = 140  # tables in a file or a pipe; nothing is ever cut off
NARROW = 110  # columns; below, wide tables take another shape


def _register_own_data(context: typer.Context, root: Path | None) -> Path | None:
    """Register the user's own data sets before a command reads data."""
    if context.resilient_parsing:  # completion in a shell
        return root
    from segbench.data import places
    from segbench.data.own_data import discover as own

    for line in own.discover(places.data_root(root)):
        typer.echo(line, err=True)
    return root


Target = Annotated[str, typer.Argument(metavar="TABLE[/ROW]", help="A table, or one row of it.", show_default=False)]
Budget = Annotated[str, typer.Option("--budget", metavar="NAME", help="full (as published), small or smoke.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only the answer.")]
DataRoot = Annotated[
    Path | None,
    typer.Option(
        "--data-root",
        metavar="FOLDER",
        callback=_register_own_data,
        help="Folder of all data sets. [env: SEGBENCH_DATA]",
    ),
]
Out = Annotated[
    Path | None, typer.Option("--out", metavar="FOLDER", help="Folder of runs and records. [env: SEGBENCH_RESULTS]")
]
Recipe = Annotated[
    Path | None, typer.Option("--recipe", metavar="FILE", help="A recipe file of your own, added to the catalog.")
]
Device = Annotated[str, typer.Option("--device", metavar="NAME", help="auto, cpu, cuda or cuda:N.")]
Precision = Annotated[str, typer.Option("--precision", metavar="NAME", help="auto, float32 or bfloat16.")]
NoCache = Annotated[
    bool, typer.Option("--no-cache", help="Decode every image whenever it is used; same figures, slower.")
]
Readings = Annotated[
    list[str] | None,
    typer.Option("--reading", metavar="NAME=OPTION", help="Another answer to an open point. Repeatable."),
]
On = Annotated[
    str | None, typer.Option("--on", metavar="NAME", help="Run on another data set than that of the figures.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Change one setting; a deviation. Repeatable."),
]


def open_catalog(recipe: Path | None = None) -> "Catalog":
    """Load the recipes that come with segbench, the user's own, and a further file.

    Personal recipes with faults are left out with a warning.

    Raises:
        InvalidFault: the file does not exist or has faults; all of them, each with file and line.
    """
    from segbench.recipe.opening import open_catalog as open_recipes

    catalog = open_recipes(recipe)
    for broken in catalog.broken:
        if recipe is None or broken.path.resolve() != recipe.resolve():
            typer.echo(f"{broken}", err=True)
    return catalog


def open_store(out: Path | None) -> "Store":
    from segbench.results.store import Store

    return Store(out)


def split_target(target: str) -> tuple[str, str | None]:
    """Return table and row of ``TABLE`` or ``TABLE/ROW``."""
    table, _, row = target.partition("/")
    return table, row or None


def pairs(given: list[str] | None, flag: str, *, command: str) -> tuple[tuple[str, str], ...]:
    """Return ``KEY=VALUE`` options as pairs.

    Raises:
        UsageFault: one has no ``=``.
    """
    found = []
    for item in given or []:
        key, equals, value = item.partition("=")
        if not equals or not key:
            raise UsageFault(f"{flag} takes KEY=VALUE, got {item!r}.", next=f"segbench {command} --help")
        found.append((key, value))
    return tuple(found)


def settings(given: list[str] | None, *, command: str) -> tuple[tuple[str, Any], ...]:
    """Return ``--set`` options with their values read as YAML; resolving a row checks the paths.

    Raises:
        UsageFault: a value does not read.
    """
    from segbench.core.strict_yaml import parse_scalar

    found = []
    for path, text in pairs(given, "--set", command=command):
        try:
            found.append((path, parse_scalar(text)))
        except ValueError as error:
            raise UsageFault(f"--set {path}: {error}.", next=f"segbench {command} --help") from None
    return tuple(found)


def print_json(data: Any) -> None:
    """Print JSON on standard output; NaN is refused."""
    typer.echo(json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False))


def console(*, err: bool = False) -> "Console":
    """Return a rich console: for a terminal, or for plain text in a pipe, whatever the environment says of colour."""
    from rich.console import Console

    stream = sys.stderr if err else sys.stdout
    if stream.isatty():
        return Console(file=stream, highlight=False)
    return Console(file=stream, highlight=False, width=PIPE_WIDTH, force_terminal=False, color_system=None)


def is_narrow() -> bool:
    """Return True if standard output is a terminal with too few columns for wide tables."""
    return console().width < NARROW


def show(*renderables: "RenderableType", err: bool = False) -> None:
    """Print; in a pipe without the blanks behind a table's last column."""
    target = console(err=err)
    if target.is_terminal:
        for renderable in renderables:
            target.print(renderable)
        return
    with target.capture() as captured:
        for renderable in renderables:
            target.print(renderable)
    typer.echo("\n".join(line.rstrip() for line in captured.get().splitlines()), err=err)


def busy(text: str) -> AbstractContextManager[object]:
    """Show on a terminal what takes a few seconds; elsewhere print nothing."""
    target = console(err=True)
    return target.status(text) if target.is_terminal and not target.is_dumb_terminal else nullcontext()


def table(*columns: str, right: tuple[str, ...] = (), title: str | None = None) -> "Table":
    """Return an empty table without borders; long cells wrap."""
    from rich.table import Table

    view = Table(box=None, pad_edge=False, header_style="bold", title=title, title_justify="left", title_style="bold")
    for name in columns:
        view.add_column(name, justify="right" if name in right else "left", overflow="fold")
    return view


def many(count: int, name: str) -> str:
    """Return ``1 training``, ``3 trainings``."""
    return f"{count:,} {name}{'' if count == 1 else 's'}"


def duration(seconds: float | None) -> str:
    """Return ``3 d 4 h``, ``2 h 05 min``, ``6 min`` or ``40 s``."""
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


def memory(count: int | None) -> str:
    """Return ``3.2 GB`` or ``80 MB``."""
    if count is None:
        return "-"
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{max(1, round(count / 1e6))} MB"
