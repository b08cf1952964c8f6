"""``segbench eval --sweep``: scores under the conventions that people get wrong."""

from typing import Any

import typer

from segbench.cli import common
from segbench.cli.live import Watcher
from segbench.cli.stopping import Stopper
from segbench.core.errors import Interrupted
from segbench.engine.runtime import Runtime
from segbench.reproduce.evaluate.checkpoint import published_as_data
from segbench.reproduce.evaluate.recognise import sentence
from segbench.reproduce.evaluate.request import EvalRequest
from segbench.reproduce.evaluate.sweep import Sweep, SweepRow, options_of
from segbench.reproduce.folders import Folders

from .show import number
from .single import open_shown

_TITLES = {
    "channels": "channels", "normalisation": "mean/std", "align": "align_corners", "scales": "scales",
    "window": "window", "absent": "absent class",
}  # fmt: skip


def score_many(
    request: EvalRequest, axes: tuple[str, ...], folders: Folders, runtime: Runtime, *, quiet: bool, json: bool
) -> None:
    """Score a checkpoint under many conventions, and print which ones it was trained with.

    Raises:
        UsageFault, MissingFault, InvalidFault, RunFault: as of ``open_checkpoint`` and ``run_job``.
        Interrupted: stopped; what a whole pass gave is kept and shown.
    """
    opened = open_shown(request, folders, quiet=quiet)
    if not json and opened.model.header is None:
        typer.echo(sentence(opened.model))
    sweep = Sweep(opened, axes)
    with Stopper() as stop, Watcher(quiet=quiet, stop=stop) as watcher:
        try:
            sweep.run(folders, runtime, observer=watcher)
        except Interrupted:
            if sweep.rows:
                _show(sweep, err=True)
            raise
    if json:
        common.print_json(_as_json(sweep))
        return
    _show(sweep)
    typer.echo("")
    for said in _says(sweep):
        typer.echo(said)
    options = options_of(sweep.best.point)
    typer.echo(f"Next: {request.bare} {options}" if options else f"Next: segbench data verify {opened.data.name}")


def _show(sweep: Sweep, *, err: bool = False) -> None:
    from rich.text import Text

    ordered = sorted(sweep.rows, key=lambda row: -row.miou)
    cells = [row.cells() for row in ordered]
    shown = [axis for axis in _TITLES if axis in sweep.axes or len({cell[axis] for cell in cells}) > 1]
    view = common.table(*(_TITLES[axis] for axis in shown), "mIoU (%)", right=("mIoU (%)",))
    for row, cell in zip(ordered, cells, strict=True):
        view.add_row(*(cell[axis] for axis in shown), number(row.miou))
    data = sweep.opened.data
    scored = f"{data.name} {data.splits[0]}, {common.many(len(ordered), 'combination')}"
    common.show(Text(scored), view, err=err)


def _says(sweep: Sweep) -> list[str]:
    said = sweep.explain()
    if (published := sweep.opened.published) is not None:
        figure = next((each for each in published.figures if each.metric == "miou"), None)
        if figure is not None:
            near = min(sweep.rows, key=lambda row: abs(row.miou - float(figure.value)))
            words = ", ".join(near.cells().values())
            said.append(
                f"Published for this file: {figure.value} ({figure.protocol.short}). "
                f"Nearest here: {number(near.miou)} with {words}."
            )
    return said


def _as_json(sweep: Sweep) -> dict[str, Any]:
    opened = sweep.opened
    return {
        "schema": 1,
        "dataset": opened.data.name,
        "split": opened.data.splits[0],
        "combinations": [_entry(row) for row in sorted(sweep.rows, key=lambda row: -row.miou)],
        "best": _entry(sweep.best),
        "says": _says(sweep),
        "options": options_of(sweep.best.point),
        "published": None if opened.published is None else published_as_data(opened.published),
    }


def _entry(row: SweepRow) -> dict[str, Any]:
    model = row.point.model
    return {
        **row.cells(),
        "input": model.input.model_dump(mode="json"),
        "align_corners": model.align_corners,
        "evaluation_spec": row.spec.canonical(),
        "evaluation": row.id,
        "miou": row.miou,
    }
