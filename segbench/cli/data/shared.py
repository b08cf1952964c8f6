"""What the commands on data sets share."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from segbench.data.verify import Verified

Name = Annotated[str, typer.Argument(metavar="NAME", help="The data set.", show_default=False)]


def say_ok(found: "Verified") -> None:
    for line in (*found.lines, f"{found.folder}" + (" (as verified before)" if found.remembered else "")):
        typer.echo(f" ok  {line}")
    typer.echo("Next: segbench list")
