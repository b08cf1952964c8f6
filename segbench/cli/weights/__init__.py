"""``segbench weights``: published checkpoints, and the weights that backbones start from."""

import typer

from . import convert, download, list_

app = typer.Typer(invoke_without_command=True, rich_markup_mode=None)
app.command("list")(list_.command)
app.command("download")(download.command)
app.command("convert")(convert.command)


@app.callback()
def overview(context: typer.Context) -> None:
    """Published weights: list, download, convert.

    \b
    Examples:
      segbench weights list --dataset cityscapes
      segbench weights download mmseg-pspnet-r101-cityscapes-80k
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
