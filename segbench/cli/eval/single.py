"""``segbench eval`` of one checkpoint by one protocol."""

from typing import Any

import typer

from segbench.checkpoints.loaded_model import LoadedModel
from segbench.cli import common
from segbench.cli.live import Watcher
from segbench.cli.profiled import show_profiles
from segbench.cli.stopping import Stopper
from segbench.engine.runtime import Runtime
from segbench.reproduce.evaluate.checkpoint import OpenedCheckpoint, evaluate_checkpoint, open_checkpoint
from segbench.reproduce.evaluate.recognise import sentence
from segbench.reproduce.evaluate.request import EvalRequest
from segbench.reproduce.folders import Folders
from segbench.results.profiles import profile
from segbench.results.record import Record

from .show import compared, show


def open_shown(request: EvalRequest, folders: Folders, *, quiet: bool) -> OpenedCheckpoint:
    """Open a checkpoint, with the progress of its download and a note on its file."""
    with Watcher(quiet=quiet) as watcher:
        opened = open_checkpoint(request, folders, observer=watcher)
    if opened.source.note:
        typer.echo(opened.source.note, err=True)
    return opened


def score_one(
    request: EvalRequest,
    folders: Folders,
    runtime: Runtime,
    *,
    profiles: tuple[str, ...] = (),
    quiet: bool,
    json: bool,
) -> None:
    """Score a checkpoint by the protocol that was asked for, and print the scores, under profiles too.

    Raises:
        UsageFault, MissingFault, InvalidFault, RunFault, Interrupted: as of ``open_checkpoint`` and ``run_job``.
    """
    opened = open_shown(request, folders, quiet=quiet)
    model, spec = opened.model, opened.spec
    if not json:
        _introduce(model)
    with Stopper() as stop, Watcher(quiet=quiet, stop=stop) as watcher:
        record = evaluate_checkpoint(opened, folders, runtime, observer=watcher)
    if json:
        common.print_json(with_profiles(record, folders, profiles))
        return
    show(record, model, spec, on_device=runtime.is_cuda)
    if profiles:
        show_profiles(profile(record, folders.store, profiles), "Metric profiles")
    if (row := request.row) is not None:
        typer.echo(f"Next: segbench report {row.table} --dataset {row.dataset}")
        return
    if opened.published is not None:
        said, following = compared(record, spec, opened.published, request.command)
        typer.echo(said)
        if following:
            typer.echo(f"Next: {following}")
            return
    if model.header is None and request.protocol is None and len(spec.scales) == 1:
        typer.echo(f"Next: {request.bare} --sweep")
        return
    typer.echo(f"Next: {request.command} --protocol {'whole' if len(spec.scales) > 1 else 'ms-flip'}")


def with_profiles(record: Record, folders: Folders, profiles: tuple[str, ...]) -> dict[str, Any]:
    """Return a record as plain data, with a list ``profiles`` if any are asked for."""
    data = record.model_dump(mode="json", by_alias=True)
    return data | {"profiles": list(profile(record, folders.store, profiles).rows())} if profiles else data


def _introduce(model: LoadedModel) -> None:
    """Print what the file was recognised as, before anything takes long."""
    if model.header is not None:
        return
    typer.echo(sentence(model))
    for note in model.notes:
        typer.echo(f"Note: {note}")
