"""Sides of a comparison by the names that people type: records, rows that were run, and printed rows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segbench.core.errors import InvalidFault, UsageFault
from segbench.metrics.scores import iou_per_class
from segbench.recipe.catalog import Catalog

from .compare import compare_tables
from .paired import Evaluated
from .record import Record
from .store import Store
from .variants import class_key

PRINTED = "printed:"
_FEWEST = 4  # characters of a record's id
_HELP = "segbench compare --help"


@dataclass(frozen=True)
class PrintedSide:
    """Scores that a publication prints for a row.

    Attributes:
        name: for people.
        dataset, split: what they are of.
        miou: in percent; None if it is not printed.
        classes: IoU in percent by class key.
    """

    name: str
    dataset: str
    split: str
    miou: float | None
    classes: dict[str, float]


def open_side(text: str, *, store: Store, catalog: Catalog, dataset: str | None = None) -> Evaluated | PrintedSide:
    """Open one side.

    Args:
        text: the id of a record or its beginning, ``TABLE/ROW`` for the runs of a row, or ``printed:TABLE/ROW``.
        store: where the records are.
        catalog: the recipes.
        dataset: of a row's figures, where it has several.

    Raises:
        UsageFault: no such record or row, or several.
        InvalidFault: it kept no counts of its images.
    """
    if text.startswith(PRINTED):
        return _printed(text.removeprefix(PRINTED), catalog, dataset)
    if "/" in text and not text.endswith((".safetensors", ".pth", ".pt")):
        table, _, row = text.partition("/")
        if table in catalog.tables:
            return evaluated(text, _of_row(table, row, store, catalog, dataset), store)
    if len(text) >= _FEWEST:
        found = [record for record in store.records() if record.id.startswith(text)]
        if len(found) == 1:
            return evaluated(f"{found[0].kind} {found[0].id}", found, store)
        if found:
            raise UsageFault(f"{text} is the beginning of {len(found)} records.", next=_HELP)
    fault = f"{text!r} is no record of {store.root} and no TABLE/ROW."
    raise UsageFault(fault, next="segbench report --json, or segbench eval --checkpoint FILE to score a file")


def evaluated(name: str, records: Sequence[Record], store: Store) -> Evaluated:
    """Return records that differ by seed alone as one side.

    Raises:
        InvalidFault: one kept no counts of its images.
    """
    tallies, matrices = [], []
    for record in records:
        tally, counts = store.tally(record), store.counts(record)
        if tally is None or counts is None:
            raise InvalidFault(f"The record {record.id} kept no counts of its images.", next=_HELP)
        tallies.append(tally)
        matrices.append(counts["matrix"])
    first = records[0]
    seeds = f", {len(records)} seeds" if len(records) > 1 else ""
    return Evaluated(
        f"{name}{seeds}", first.dataset, first.split, tuple(first.per_class), tuple(tallies), tuple(matrices),
        {key: value for key, value in first.evaluation_spec.items() if key != "data"},
    )  # fmt: skip


def _of_row(table: str, row: str, store: Store, catalog: Catalog, dataset: str | None) -> tuple[Record, ...]:
    catalog.table(table).row(row)
    (report,) = compare_tables(catalog, [table], store, datasets=[dataset] if dataset is not None else None)
    found = [each.shown for each in report.rows if each.row == row and each.shown is not None]
    scored = [shown.records for shown in found if shown.records[0].kind == "training"]
    if not scored:
        more = f" --dataset {dataset}" if dataset is not None else ""
        raise UsageFault(f"{table}/{row} is not run.", next=f"segbench reproduce {table}/{row}{more}")
    if len(scored) > 1:
        names = ", ".join(records[0].dataset for records in scored)
        raise UsageFault(f"{table}/{row} was run on {names}.", next="the same command with --dataset NAME")
    return scored[0]


def _printed(text: str, catalog: Catalog, dataset: str | None) -> PrintedSide:
    table, _, row = text.partition("/")
    figures = [each for each in catalog.table(table).figures(row) if dataset in (None, each.dataset)]
    scores = [each for each in figures if each.metric in ("miou", "iou")]
    groups = list(dict.fromkeys((each.dataset, each.split) for each in scores))
    if len(groups) != 1:
        which = ", ".join(f"{name} {split}" for name, split in groups) or "none"
        raise UsageFault(f"Printed IoU of {text}: {which}.", next="the same command with --dataset NAME")
    miou = next((each.value for each in scores if each.metric == "miou"), None)
    classes = {class_key(each.class_name): each.value for each in scores if each.class_name}
    return PrintedSide(f"{text} as printed", *groups[0], miou, classes)


def less_printed(ours: Evaluated, printed: PrintedSide) -> dict[str, tuple[float, float]]:
    """Return (printed, measured) IoU in percent: the mean, and the classes, the largest difference first.

    Raises:
        InvalidFault: they share neither a mean nor a class.
    """
    scores = {name: [] for name in ("mean", *ours.classes)}  # type: dict[str, list[float]]
    for tally in ours.tallies:
        classes = 100 * iou_per_class(tally.total())
        scores["mean"].append(float(np.nanmean(classes)))
        for name, value in zip(ours.classes, classes, strict=True):
            scores[name].append(float(value))
    means = {name: float(np.mean(values)) for name, values in scores.items()}
    pairs = {"mean": (printed.miou, means["mean"])} if printed.miou is not None else {}
    by_class = {
        name: (printed.classes[class_key(name)], means[name])
        for name in ours.classes
        if class_key(name) in printed.classes and np.isfinite(means[name])
    }
    if not pairs and not by_class:
        raise InvalidFault(f"{printed.name} and {ours.name} share no score.", next=_HELP)
    return {**pairs, **dict(sorted(by_class.items(), key=lambda item: -abs(item[1][1] - item[1][0])))}
