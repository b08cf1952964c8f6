"""``segbench export``: predictions of a test split as the archive that its server takes."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segbench.core.errors import MissingFault, UsageFault

from . import common

if TYPE_CHECKING:
    from segbench.checkpoints.loaded_model import LoadedModel
    from segbench.core.spec import EvaluationSpec
    from segbench.reproduce.execute import Context
    from segbench.results.record import Record


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
    from segbench.reproduce.execute import Context
    from segbench.reproduce.export import export

    from .live import Watcher
    from .stopping import Stopper

    store = common.open_store(out)
    runtime = choose_runtime(device, precision=precision)
    with Stopper() as stop, Watcher(quiet=quiet, stop=stop) as watcher:
        context = Context(store, runtime, data_root, watcher, stop)
        if checkpoint is not None:
            subject, spec, record = _of_checkpoint(checkpoint, dataset, split, protocol, context)
        else:
            from segbench.recipe.resolve import Request

            request = Request(
                budget,
                seed,
                common.pairs(reading, "--reading", command="export"),
                common.settings(setting, command="export"),
            )
            subject, spec, record = _of_row(target, dataset, request, recipe, context)
        store.check_writable()
        watcher.announce(f"{target or subject.path.name} · {record.dataset} {record.split}", 1, 1)
        made = export(subject, spec, record, archive, context)
    if json:
        common.print_json(
            {
                "schema": 1, "archive": str(made.archive), "sha256": made.sha256, "images": made.images,
                "server": made.server.title, "url": made.server.url, "evaluation": record.id,
            }
        )  # fmt: skip
        return
    typer.echo(f"{made.archive}   {made.images:,} images, sha256 {made.sha256}")
    typer.echo(f"Checked by the rules of {made.server.title}: every image once, its size, its values.")
    typer.echo(f"Hand it in at {made.server.url}   {made.server.hint}")
    scores = " ".join(f"{name}=.." for name in made.server.metrics)
    typer.echo(f"Next: segbench results server-score {made.archive} {scores}")


def _of_row(
    target: str, dataset: str | None, request: Any, recipe: Path | None, context: "Context"
) -> "tuple[LoadedModel, EvaluationSpec, Record]":
    """Return the network, protocol and unscored record of a row.

    Raises:
        UsageFault: no such row, several data sets, or nothing that only a server can score.
        MissingFault: the row was not trained yet.
    """
    from segbench.checkpoints.loaded_model import open_weights
    from segbench.engine.train import BEST, LAST, read_summary
    from segbench.reproduce.export import record_of_row
    from segbench.reproduce.plan import make_plan

    catalog = common.open_catalog(recipe)
    table, row = common.split_target(target)
    if row is None:
        rows = ", ".join(name for name, entry in catalog.table(table).file.rows.items() if entry.server)
        fault = f"A row is exported, not a table; {table} has {rows or 'no row that only a server can score'}."
        raise UsageFault(fault, next=f"segbench list {table}")
    catalog.table(table).row(row)
    plan = make_plan(
        catalog, table, context.store, row=row, dataset=dataset, request=request, data_root=context.data_root
    )
    if len(plan.items) > 1:
        known = ", ".join(item.resolved.dataset for item in plan.items)
        raise UsageFault(f"{target} has figures on {known}.", next=f"segbench export {target} --dataset NAME")
    (item,) = plan.items
    again = f"segbench reproduce {target}" + (f" --dataset {dataset}" if dataset else "")
    if item.status == "waits":
        raise MissingFault(f"{target} cannot run here: {item.reason}.", next="segbench list")
    record = record_of_row(item, context)
    spec = item.resolved.ran.evaluation
    assert spec is not None
    folder = context.store.training_folder(item.training)
    if read_summary(folder) is None:
        raise MissingFault(f"{target} was not trained in {context.store.root} yet.", next=again)
    return open_weights(folder / (BEST if spec.checkpoint == "best" else LAST)), spec, record


def _of_checkpoint(
    checkpoint: str, dataset: str | None, split: str, protocol: str, context: "Context"
) -> "tuple[LoadedModel, EvaluationSpec, Record]":
    """Return the network, protocol and unscored record of a checkpoint.

    Raises:
        UsageFault: no such protocol or data set.
        MissingFault, InvalidFault: the file is missing, or no checkpoint.
    """
    from segbench.checkpoints.find import find_checkpoint
    from segbench.core.spec import evaluation_id
    from segbench.data.submission import server_of
    from segbench.reproduce.context import provenance
    from segbench.reproduce.score import deviations_of, training_spec
    from segbench.results.record import Record

    from .eval.asked import Asked, check_names
    from .eval.protocol import evaluation_spec
    from .eval.recognise import choose_data, open_subject

    check_names(protocol, "exclude")
    asked = Asked(checkpoint, dataset, split, protocol=protocol)
    source = find_checkpoint(checkpoint)
    subject = open_subject(source, asked)
    data = choose_data(asked, subject, source.published)
    server_of(data.name, split)
    data = data.model_copy(update={"source": "folder", "images": None})
    spec = evaluation_spec(asked, subject, data, source.published)
    record = Record(
        id=evaluation_id(subject.identity, spec),
        kind="checkpoint",
        training=subject.sha256,
        family=subject.sha256,
        dataset=data.name,
        split=split,
        training_spec=training_spec(subject),
        evaluation_spec=spec.canonical(),
        figures={},
        deviations=[each.as_json() for each in deviations_of(subject, spec, None)],
        provenance={**provenance(context.runtime), "file": subject.path.name},
    )
    return subject, spec, record
