"""Tables of metric profiles, for ``segbench eval`` and ``segbench report``."""

from typing import TYPE_CHECKING, Annotated

import typer

from . import common

if TYPE_CHECKING:
    from segbench.results.profiles import Profiled

Profiles = Annotated[
    list[str] | None,
    typer.Option(
        "--profile", metavar="NAME", help="The same counts under another convention; all for every one. Repeatable."
    ),
]


def show_profiles(profiled: "Profiled", title: str) -> None:
    """Print the scores of a record by profile, what each does, and why they differ."""
    from rich.text import Text

    if not profiled.found:
        typer.echo(f"{title}: {profiled.why}")
        return
    standard = profiled.found.get("standard")
    table = common.table("profile", "mIoU", "diff", "Dice", "accuracy", "convention")
    for row in profiled.rows():
        apart = "" if standard is None or row["miou"] is None else f"{row['miou'] - standard.miou:+.2f}"
        values = ["-" if row[name] is None else f"{row[name]:.2f}" for name in ("miou", "dice", "accuracy")]
        table.add_row(row["profile"], values[0], apart, *values[1:], Text(row["says"]))
    common.show(Text(title, style="bold"), table)
    if profiled.why:
        common.show(Text(profiled.why))
