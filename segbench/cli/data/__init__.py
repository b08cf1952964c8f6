"""``segbench data``: list, download, verify and prepare data sets."""

import typer

from . import download, init, list_, prepare, verify

app = typer.Typer(invoke_without_command=True, rich_markup_mode=None)
app.command("list")(list_.command)
app.command("download")(download.command)
app.command("verify")(verify.command)
app.command("prepare")(prepare.command)
app.command("init")(init.command)


@app.callback()
def overview(context: typer.Context) -> None:
    """Data sets: list, download, verify, prepare, init.

    \b
    Examples:
      segbench data list
      segbench data download camvid
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
