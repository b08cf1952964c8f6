"""``segbench reproduce --weights released``: score the weights that authors released, in place of training."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from segbench.core.errors import ExitCode, UsageFault

from . import common

if TYPE_CHECKING:
    from segbench.recipe.catalog import Catalog
    from segbench.recipe.released import ReleasedWeights
    from segbench.reproduce.evaluate.request import Readings, ScoredRow

RELEASED = "released"


def refuse(given: dict[str, bool]) -> None:
    """Raise on options that say how to train.

    Args:
        given: flags, and whether each was given.

    Raises:
        UsageFault: one was.
    """
    flags = [flag for flag, is_given in given.items() if is_given]
    if flags:
        fault = f"Released weights are not trained: {' and '.join(flags)} cannot be combined with --weights released."
        raise UsageFault(fault, next="segbench reproduce --help")


def rescore_table(
    catalog: "Catalog",
    table: str,
    row: str | None,
    *,
    dataset: str | None,
    readings: "Readings",
    dry_run: bool,
    strict: bool,
    device: str,
    precision: str,
    no_cache: bool,
    data_root: Path | None,
    out: Path | None,
    quiet: bool,
    json: bool,
) -> None:
    """Score the released weights that stand for rows of a table, and report.

    Raises:
        UsageFault: no such table, row or data set, or no weights stand for any of them.
        Exit: some could not be scored.
    """
    from segbench.reproduce.evaluate.row import released_rows
    from segbench.reproduce.target import require_target

    require_target(catalog, table, row, dataset, on=None, budget="full")
    rows = released_rows(catalog, table, row=row, dataset=dataset, readings=readings)
    if dry_run:
        _show_plan(table, rows, json=json)
        return
    from segbench.engine.runtime import choose_runtime
    from segbench.reproduce.evaluate.rescore import rescore
    from segbench.reproduce.folders import find_folders

    from .live import Watcher
    from .report import finish, repeated
    from .stopping import Stopper

    folders = find_folders(out, data_root, use_cache=not no_cache)
    runtime = choose_runtime(device, precision=precision)
    with Stopper() as stop, Watcher(quiet=quiet, stop=stop) as watcher:
        done = rescore(rows, folders, runtime, observer=watcher)
    datasets = list(dict.fromkeys(each.dataset for _, each in rows))
    if done.records or not done.failed:
        repeat = repeated(dataset, data_root, out)
        hold = finish(catalog, table, folders.store, datasets=datasets, as_json=json, repeat=repeat)
    if done.failed:
        for name, error in done.failed:
            for fault in error.faults:
                typer.echo(f"{fault}   ({name})", err=True)
        others = "the others are recorded" if done.records else "nothing was recorded"
        typer.echo(f"{common.many(len(done.failed), 'file')} could not be scored; {others}.", err=True)
        helps = [error.next for _, error in done.failed if error.next]
        typer.echo(f"Next: {helps[0] if helps else f'segbench reproduce {table} --weights released'}", err=True)
        codes = {error.exit_code for _, error in done.failed}
        raise typer.Exit(ExitCode.FAILED if done.records or len(codes) > 1 else codes.pop())
    if strict and not hold:
        raise typer.Exit(ExitCode.OUTSIDE)


def _show_plan(table: str, rows: "list[tuple[ReleasedWeights, ScoredRow]]", *, json: bool) -> None:
    """Print what would be scored: files, rows, protocols."""
    from rich.text import Text

    from segbench.checkpoints.fetch import local_path
    from segbench.checkpoints.published import checkpoint
    from segbench.reproduce.evaluate.protocol import describe

    lines: list[dict[str, Any]] = [
        {
            "row": str(row),
            "dataset": row.dataset,
            "split": row.spec.data.splits[0],
            "checkpoint": weights.checkpoint,
            "by": weights.by,
            "differs": weights.differs or None,
            "protocol": describe(row.spec),
            "here": local_path(checkpoint(weights.checkpoint)) is not None,
        }
        for weights, row in rows
    ]
    if json:
        common.print_json({"schema": 1, "table": table, "weights": lines})
        return
    view = common.table("row", "data", "weights", "protocol", "status")
    for line in lines:
        status = "here" if line["here"] else "will be downloaded"
        where = f"{line['dataset']} {line['split']}"
        view.add_row(line["row"].partition("/")[2], where, line["checkpoint"], line["protocol"], status)
    head = f"{table}: {common.many(len(lines), 'checkpoint')} to score, nothing to train"
    common.show(Text(head), view, Text("Nothing has been started."))
