"""``segbench eval --sweep``: why do I not get the published number?"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import typer

from segbench.cli import common
from segbench.cli.live import Watcher
from segbench.cli.stopping import Stopper
from segbench.core.errors import Interrupted

from . import ways
from .recognise import sentence
from .show import number, published_as_data
from .ways import Row, Way
from .ways import parse_axes as parse_axes

if TYPE_CHECKING:
    from .single import Found

_TITLES = {
    "channels": "channels", "normalisation": "mean/std", "align": "align_corners", "scales": "scales",
    "window": "window", "absent": "absent class",
}  # fmt: skip


def score_many(found: "Found", axes: tuple[str, ...], *, quiet: bool, json: bool) -> None:
    """Score a checkpoint under the conventions that people get wrong, and say which one it wants.

    What is fed is tried in all combinations, in one pass over the images; then, in a second one, scales and windows
    with the conventions that lead. Every combination is a record; what the store has already is not done again.

    Raises:
        MissingFault, RunFault, Interrupted: as of ``segbench.reproduce.score``; what a whole pass gave is kept.
    """
    if not json and found.subject.header is None:
        typer.echo(sentence(found.subject))
    first = ways.of_input(found, axes)
    passes = 1 + any(axis in axes for axis in ("scales", "window"))
    with Stopper() as stop, Watcher(quiet=quiet, stop=stop) as watcher:
        context = replace(found.context, observer=watcher, stop=stop)
        found = replace(found, context=context)
        watcher.announce(f"{common.many(len(first), 'way')} to feed {found.subject.path.name}", 1, passes)
        rows = _score(found, first)
        if passes > 1:
            leading = ways.leader(rows, found.asked.absent).way
            second = ways.of_protocol(found, leading, axes)
            watcher.announce(f"{common.many(len(second), 'protocol')} for the leading one", 2, passes)
            try:
                rows += _score(found, second)
            except Interrupted:
                _show(found, rows, axes, err=True)
                raise
    if json:
        common.print_json(_as_json(found, rows))
        return
    _show(found, rows, axes)


def _score(found: "Found", wanted: list[Way]) -> list[Row]:
    """Rows of these ways, from the store where they are there; new ones are recorded, the rules for absences too."""
    from segbench.reproduce.score import checkpoint_record, score_all

    from .single import published_protocol

    store = found.context.store
    known = {way.key: store.counts(record) for way in wanted if (record := store.find(way.key)) is not None}
    new = [way for way in wanted if known.get(way.key) is None]
    results = (
        score_all([(way.subject, way.spec) for way in new], found.context, advice=found.memory_advice) if new else []
    )
    published = published_protocol(found)
    for way, result in zip(new, results, strict=True):
        counts = result.counts()
        for row in ways.rows_of(way, counts):
            spec = way.spec.model_copy(update={"absent": row.absent})
            record = checkpoint_record(
                way.subject, spec, result, found.context, costed=None, published=published, more=found.provenance
            )
            store.write(record, counts)
        known[way.key] = counts
    return [row for way in wanted for row in ways.rows_of(way, known[way.key] or {})]


def _show(found: "Found", rows: list[Row], axes: tuple[str, ...], *, err: bool = False) -> None:
    from rich.text import Text

    ordered = sorted(rows, key=lambda row: -row.miou)
    cells = [row.cells() for row in ordered]
    shown = [axis for axis in _TITLES if axis in axes or len({cell[axis] for cell in cells}) > 1]
    view = common.table(*(_TITLES[axis] for axis in shown), "mIoU (%)", right=("mIoU (%)",))
    for row, cell in zip(ordered, cells, strict=True):
        view.add_row(*(cell[axis] for axis in shown), number(row.miou))
    scored = f"{found.data.name} {found.spec.data.splits[0]}, {common.many(len(rows), 'combination')}"
    common.show(Text(scored), view, err=err)
    if err:
        return
    best = ways.leader(rows, found.asked.absent)
    typer.echo("")
    for said in _says(found, rows):
        typer.echo(said)
    options = ways.options(best.way, found)
    if options:
        typer.echo(f"Next: {found.asked.bare} {options}")
    else:
        typer.echo(f"Next: segbench data verify {found.data.name}")


def _says(found: "Found", rows: list[Row]) -> list[str]:
    declared = ways.declared(found)
    said = ways.explain(rows, declared, found.asked.absent)
    if found.published is not None:
        figure = next((each for each in found.published.figures if each.metric == "miou"), None)
        if figure is not None:
            near = min(rows, key=lambda row: abs(row.miou - float(figure.value)))
            words = ", ".join(near.cells().values())
            said.append(
                f"Published for this file: {figure.value} ({figure.protocol.short}). "
                f"Nearest here: {number(near.miou)} with {words}."
            )
    return said


def _as_json(found: "Found", rows: list[Row]) -> dict[str, Any]:
    from segbench.core.spec import evaluation_id

    best = ways.leader(rows, found.asked.absent)

    def entry(row: Row) -> dict[str, Any]:
        spec = row.way.spec.model_copy(update={"absent": row.absent})
        return {
            **row.cells(),
            "input": row.way.subject.input.model_dump(mode="json"),
            "align_corners": row.way.subject.align_corners,
            "evaluation_spec": spec.canonical(),
            "evaluation": evaluation_id(row.way.subject.identity, spec),
            "miou": row.miou,
        }

    return {
        "schema": 1,
        "dataset": found.data.name,
        "split": found.data.splits[0],
        "combinations": [entry(row) for row in sorted(rows, key=lambda row: -row.miou)],
        "best": entry(best),
        "says": _says(found, rows),
        "options": ways.options(best.way, found),
        "published": None if found.published is None else published_as_data(found.published),
    }
