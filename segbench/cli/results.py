"""``segbench results``: scores entered into the results folder by hand, with their source."""

from datetime import date, datetime
from pathlib import Path
from typing import Annotated

import typer

from segbench.core.errors import UsageFault

from . import common

app = typer.Typer(invoke_without_command=True, rich_markup_mode=None)


@app.callback()
def overview(context: typer.Context) -> None:
    """The results folder: enter what a test server answered.

    \b
    Examples:
      segbench results server-score cityscapes-test.zip miou=78.7 iiou=56.8
      segbench results server-score voc.tar.gz miou=67.2 --day 2026-05-01
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command("server-score")
def server_score(
    archive: Annotated[
        Path, typer.Argument(metavar="ARCHIVE", help="The file that was handed in.", show_default=False)
    ],
    scores: Annotated[
        list[str], typer.Argument(metavar="METRIC=VALUE...", help="What the server answered, in percent.")
    ],
    day: Annotated[
        datetime | None, typer.Option("--day", formats=["%Y-%m-%d"], help="When it answered; default: today.")
    ] = None,
    link: Annotated[str, typer.Option("--link", metavar="URL", help="Address of the public result.")] = "",
    out: common.Out = None,
    json: common.Json = False,
) -> None:
    """Enter a test server's answer, so that the figures of the test split get verdicts.

    \b
    Examples:
      segbench results server-score cityscapes-test.zip miou=78.7 iiou=56.8
      segbench results server-score voc.tar.gz miou=67.2 --link http://host/anonymous/ABC.html
    """
    from segbench.reproduce.export import enter_score

    figures: dict[str, float] = {}
    for name, text in common.pairs(scores, "METRIC=VALUE", command="results server-score"):
        try:
            figures[name] = float(text)
        except ValueError:
            raise UsageFault(f"{name}: {text!r} is no number.", next="segbench results server-score --help") from None
    when = day.date() if day is not None else date.today()
    record, path = enter_score(common.open_store(out), archive, figures, day=when, link=link)
    if json:
        common.print_json(record.model_dump(mode="json", by_alias=True))
        return
    said = ", ".join(f"{name} {value:g}" for name, value in figures.items())
    typer.echo(f"{record.dataset} {record.split}: {said}, as the server answered on {when.isoformat()}.")
    for entry in record.provenance["scored"].get("earlier", []):
        before = ", ".join(f"{name} {value:g}" for name, value in entry["figures"].items())
        typer.echo(f"Entered before and kept: {before}, of {entry['day']}.")
    typer.echo(f"Next: {'segbench report' if record.kind == 'training' else f'cat {path}'}")
