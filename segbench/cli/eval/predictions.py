"""``segbench eval --predictions``: scores of label files that any program wrote."""

from pathlib import Path

import typer

from segbench.cli import common
from segbench.cli.live import Watcher
from segbench.cli.profiled import show_profiles
from segbench.cli.stopping import Stopper
from segbench.engine.runtime import Runtime
from segbench.reproduce.evaluate.predictions import find_predictions
from segbench.reproduce.folders import find_folders
from segbench.reproduce.run import run_job
from segbench.results.profiles import profile

from .show import averages, scores
from .single import with_profiles


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
    profiles: tuple[str, ...] = (),
    quiet: bool,
    json: bool,
) -> None:
    """Score a folder of label files, record and print the scores.

    Raises:
        UsageFault: no data set is named, or the values do not tell their encoding.
        MissingFault: data or predictions are missing or faulty.
        Interrupted: stopped.
    """
    folders = find_folders(out, data_root)
    found = find_predictions(
        folder, folders, dataset=dataset, split=split, classes=classes, encoding=encoding, absent=absent
    )
    if found.extra:
        shown = ", ".join(found.extra[:3]) + (", ..." if len(found.extra) > 3 else "")
        typer.echo(f"{common.many(len(found.extra), 'file')} of no image left out: {shown}", err=True)
    with Stopper() as stop, Watcher(quiet=quiet, stop=stop) as watcher:
        (record,) = run_job(found.job, folders, Runtime(), observer=watcher).records
    if json:
        common.print_json(with_profiles(record, folders, profiles))
        return
    values = "train ids" if record.provenance["encoding"] == "train-ids" else "label ids"
    images = common.many(record.images, "image")
    typer.echo(f"{folder} · {values} · {record.dataset} {record.split}, {images}")
    scores(record)
    averages(record, [])
    if profiles:
        show_profiles(profile(record, folders.store, profiles), "Metric profiles")
    typer.echo(f"Next: cat {folders.store.record_path(record.id)}")
