"""``segbench eval --predictions``: label files that any program wrote, scored as a network would be."""

import hashlib
from pathlib import Path
from typing import Any

import typer

from segbench.cli import common
from segbench.cli.live import Watcher
from segbench.cli.stopping import Stopper
from segbench.core.errors import MissingFault, UsageFault

from .asked import HELP
from .recognise import default_split, require_dataset
from .show import averages, scores


def score_folder(
    folder: Path,
    dataset: str | None,
    split: str | None,
    *,
    classes: str | None,
    encoding: str | None,
    absent: str,
    data_root: Path | None,
    out: Path | None,
    quiet: bool,
    json: bool,
) -> None:
    """Match, read, count, record and print.

    Raises:
        UsageFault: no data set is named, or the values do not tell what they mean.
        MissingFault: data or predictions are missing or faulty.
        Interrupted: stopped.
    """
    from segbench.core.spec import DataSpec, EvaluationSpec
    from segbench.data import places, predictions
    from segbench.data.classes import class_table
    from segbench.data.facts import facts, require_split
    from segbench.data.handle import find_dataset
    from segbench.data.verify import verify
    from segbench.engine.predictions import count_predictions
    from segbench.reproduce.score import require_labels

    if dataset is None:
        raise UsageFault("Predictions do not say of which images: --dataset is wanted.", next=HELP)
    require_dataset(dataset)
    options = facts(dataset)
    split = split or default_split(dataset)
    require_split(options, split)
    table = class_table(classes or options.table)
    if table.name not in (options.table, *options.variants):
        raise UsageFault(f"{dataset} has no class table {classes!r}.", next=HELP)
    data = DataSpec(name=dataset, splits=(split,), classes=table.name if table.name != options.table else None)
    spec = EvaluationSpec(data=data, absent=absent)
    require_labels(spec)
    store = common.open_store(out)
    store.check_writable()
    root = places.data_root(data_root)
    listed = find_dataset(dataset, root, options=options).pairs(split)
    if not listed:
        raise MissingFault(f"{options.title} {split} has no images here.", next=f"segbench data verify {dataset}")
    matched = predictions.match(folder, listed)
    verify(dataset, root, splits=[split])
    if matched.extra:
        shown = ", ".join(matched.extra[:3]) + (", ..." if len(matched.extra) > 3 else "")
        typer.echo(f"{common.many(len(matched.extra), 'file')} of no image left out: {shown}", err=True)
    with Stopper() as stop, Watcher(quiet=quiet, stop=stop) as watcher:
        read, counted = (watcher.counter(f"{title} {folder}", "files") for title in ("reading", "counting"))
        found = predictions.read_values(matched.files, listed, progress=read)
        meaning = predictions.label_encoding(found.values, table, encoding=encoding, folder=folder)
        result = count_predictions(
            matched.files, listed, data, meaning, progress=lambda done: counted(done, len(listed)), stop=stop
        )
    digest = _digest([pair.key for pair in listed], found.digests, meaning.encoding)
    about = {"folder": folder.name, "encoding": meaning.encoding, "extra": len(matched.extra)}
    record = _record(spec, digest, result, table.names, about)
    store.write(record, result.counts())
    if json:
        common.print_json(record.model_dump(mode="json", by_alias=True))
        return
    values = "train ids" if meaning.encoding == "train-ids" else "label ids"
    typer.echo(f"{folder} · {values} · {dataset} {split}, {common.many(len(listed), 'image')}")
    scores(record)
    averages(record, [])
    typer.echo(f"Next: cat {store.record_path(record.id)}")


def _digest(keys: list[str], digests: tuple[str, ...], encoding: str) -> str:
    """SHA-256 of the list of label files: their images, their pixels and what these mean."""
    lines = [encoding, *(f"{digest}  {key}" for key, digest in zip(keys, digests, strict=True))]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _record(spec: Any, digest: str, result: Any, names: tuple[str, ...], about: dict[str, Any]) -> Any:
    import sys
    from datetime import UTC, datetime
    from shlex import join

    from segbench.core.provenance import segbench_version
    from segbench.core.spec import evaluation_id
    from segbench.results.record import Record

    identity = evaluation_id(digest, spec)
    made = {"finished": datetime.now(UTC).isoformat(timespec="seconds"), "command": join(["segbench", *sys.argv[1:]])}
    return Record(
        id=identity,
        kind="predictions",
        training=digest,
        family=digest,
        dataset=spec.data.name,
        split=spec.data.splits[0],
        evaluation_spec=spec.canonical(),
        figures=result.figures(absent=spec.absent),
        per_class=dict(zip(names, result.per_class(), strict=True)),
        benchmark=result.benchmark_scores(),
        images=len(result.keys),
        provenance={**segbench_version(), **made, **about},
        counts=f"{identity}.npz",
    )
