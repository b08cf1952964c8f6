"""``segbench export``: predictions of a test split as the archive that its server takes."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segbench.core.errors import UsageFault

from . import common

if TYPE_CHECKING:
    from segbench.recipe.catalog import Catalog


def command(
    target: Annotated[
        str, typer.Argument(metavar="[TABLE/ROW]", help="A row that was trained here.", show_default=False)
    ] = "",
    checkpoint: Annotated[
        str | None,
        typer.Option("--checkpoint", metavar="FILE", help="Any that `segbench eval` takes, instead of a row."),
    ] = None,
    dataset: Annotated[str | None, typer.Option("--dataset", metavar="NAME", help="Of the row or checkpoint.")] = None,
    split: Annotated[str, typer.Option("--split", metavar="NAME", help="Of a checkpoint.")] = "test",
    protocol: Annotated[
        str, typer.Option("--protocol", metavar="NAME", help="Of a checkpoint: whole, ms-flip, slide or published.")
    ] = "whole",
    archive: Annotated[
        Path | None, typer.Option("--archive", metavar="FILE", help="Where to write; default: in the results folder.")
    ] = None,
    budget: common.Budget = "full",
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Which seed of the row.")] = 0,
    reading: common.Readings = None,
    setting: common.Settings = None,
    recipe: common.Recipe = None,
    device: common.Device = "auto",
    precision: common.Precision = "auto",
    data_root: common.DataRoot = None,
    out: common.Out = None,
    quiet: common.Quiet = False,
    json: common.Json = False,
) -> None:
    """Predict a test split and pack what its server takes; the archive is checked by the server's rules.

    \b
    Examples:
      segbench export contextrast-table3/upernet
      segbench export --checkpoint last.safetensors --dataset cityscapes
    """
    if bool(target) == (checkpoint is not None):
        raise UsageFault("Either a row or --checkpoint is exported.", next="segbench export --help")
    from segbench.engine.runtime import choose_runtime
    from segbench.recipe.resolve import Request
    from segbench.reproduce.evaluate.request import EvalRequest
    from segbench.reproduce.export import export, exportable_checkpoint, exportable_row
    from segbench.reproduce.folders import find_folders

    from .live import Watcher
    from .stopping import Stopper

    folders = find_folders(out, data_root)
    runtime = choose_runtime(device, precision=precision)
    with Stopper() as stop, Watcher(quiet=quiet, stop=stop) as watcher:
        if checkpoint is not None:
            found = exportable_checkpoint(EvalRequest(checkpoint, dataset, split, protocol=protocol), observer=watcher)
        else:
            readings = common.pairs(reading, "--reading", command="export")
            request = Request(budget, seed, readings, common.settings(setting, command="export"))
            catalog = common.open_catalog(recipe)
            table, row = _row_of(catalog, target)
            found = exportable_row(catalog, table, row, folders, dataset=dataset, request=request)
        folders.store.check_writable()
        data = found.task.spec.data
        watcher.announce(f"{target or found.model.path.name} · {data.name} {data.splits[0]}", 1, 1)
        made = export(found, archive, folders, runtime, observer=watcher)
    if json:
        common.print_json(
            {
                "schema": 1, "archive": str(made.archive), "sha256": made.sha256, "images": made.images,
                "server": made.server.title, "url": made.server.url, "evaluation": made.evaluation,
            }
        )  # fmt: skip
        return
    typer.echo(f"{made.archive}   {made.images:,} images, sha256 {made.sha256}")
    typer.echo(f"Checked by the rules of {made.server.title}: every image once, its size, its values.")
    typer.echo(f"Hand it in at {made.server.url}   {made.server.hint}")
    scores = " ".join(f"{name}=.." for name in made.server.metrics)
    typer.echo(f"Next: segbench results server-score {made.archive} {scores}")


def _row_of(catalog: "Catalog", target: str) -> tuple[str, str]:
    """Return table and row.

    Raises:
        UsageFault: no such row, or a table alone.
    """
    table, row = common.split_target(target)
    if row is None:
        rows = ", ".join(name for name, entry in catalog.table(table).file.rows.items() if entry.server)
        fault = f"A row is exported, not a table; {table} has {rows or 'no row that only a server can score'}."
        raise UsageFault(fault, next=f"segbench list {table}")
    catalog.table(table).row(row)
    return table, row
