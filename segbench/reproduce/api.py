"""The Python API: run tables, score checkpoints, load networks. The commands call the same functions underneath."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segbench.checkpoints.conventions import parse_convention
from segbench.checkpoints.loaded_model import LoadedModel
from segbench.core.errors import UsageFault
from segbench.core.progress import SILENT, Observer
from segbench.core.spec import Size
from segbench.data.own_data import discover as own_data
from segbench.engine.runtime import Runtime, choose_runtime
from segbench.recipe.opening import open_catalog
from segbench.recipe.resolve import Request
from segbench.results.compare import compare_table
from segbench.results.record import Record
from segbench.results.report import Report

from .evaluate.checkpoint import evaluate_checkpoint, open_checkpoint, recognise_checkpoint
from .evaluate.predictions import find_predictions
from .evaluate.request import EvalRequest
from .folders import Folders, find_folders
from .launch import Launcher
from .outcome import JobFailure
from .run import run_job
from .table import plan_table

if TYPE_CHECKING:  # pandas is loaded when a frame is asked for
    import pandas as pd


@dataclass(frozen=True)
class Reproduction(Report):
    """Report of a table after a run; a notebook shows it as Markdown.

    Attributes:
        failed: trainings that did not finish, and why.
    """

    failed: tuple[JobFailure, ...] = ()


@dataclass(frozen=True)
class EvalResult:
    """Scores of a checkpoint or of label files.

    Attributes:
        record: figures, IoU by class, deviations and provenance, as the store keeps them.
    """

    record: Record

    @property
    def figures(self) -> dict[str, float | None]:
        """Scores by name, shares in percent: ``miou``, ``pixel_accuracy``, ``dice``, ``params_m`` and so on."""
        return self.record.figures

    @property
    def miou(self) -> float | None:
        """Mean IoU in percent; None if no class occurs."""
        return self.record.figures["miou"]

    def frame(self) -> "pd.DataFrame":
        """Return a line per class: ``class`` and ``iou`` in percent, with ``iiou`` if the benchmark has it.

        A value is missing if the class occurs neither in labels nor in predictions.
        """
        import pandas as pd

        columns = {"class": list(self.record.per_class), "iou": list(self.record.per_class.values())}
        if (iiou := self.record.benchmark.get("class_iiou")) is not None:
            columns["iiou"] = [iiou.get(name) for name in self.record.per_class]
        return pd.DataFrame(columns)

    def _repr_html_(self) -> str:
        return str(self.frame().to_html(index=False))


def reproduce(
    target: str,
    *,
    dataset: str | None = None,
    on: str | None = None,
    budget: str = "full",
    seeds: int = 1,
    seed: int = 0,
    readings: Mapping[str, str] | None = None,
    settings: Mapping[str, Any] | None = None,
    recipe: Path | str | None = None,
    device: str = "auto",
    precision: str = "auto",
    compile: bool | None = None,
    deterministic: bool = False,
    checkpoint_activations: bool = False,
    jobs: int = 1,
    launcher: Launcher | None = None,
    use_cache: bool = True,
    data_root: Path | str | None = None,
    out: Path | str | None = None,
    observer: Observer = SILENT,
) -> Reproduction:
    """Run a table, or one row, and compare it with the publication; it starts at once, however long it takes.

    What is in the results folder already is not run again. ``segbench reproduce TABLE --dry-run`` tells how long it
    takes and what is missing.

    Args:
        target: ``TABLE`` or ``TABLE/ROW``.
        dataset: only figures of this data set.
        on: run on this data set instead of that of the figures.
        budget: ``full`` (as published), ``small`` or ``smoke``.
        seeds: number of seeds per row.
        seed: the first seed.
        readings: answers to open points, by name.
        settings: changes of single settings, by dotted path; each is a deviation.
        recipe: recipe file of your own.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        precision: ``auto``, ``float32`` or ``bfloat16``.
        compile: use torch.compile; None for where it pays.
        deterministic: use only deterministic kernels.
        checkpoint_activations: less memory, a third slower, same figures.
        jobs: trainings at a time, each in a process of its own with memory of its own. As always with processes, a
            script needs ``if __name__ == "__main__":`` around the call.
        launcher: runs the jobs elsewhere; ``jobs`` is ignored then.
        use_cache: read and write prepared images; no figure depends on it.
        data_root: folder of all data sets; None for ``SEGBENCH_DATA`` or the user's own.
        out: folder of runs and records; None for ``SEGBENCH_RESULTS`` or the user's own.
        observer: receives progress, and is polled for a stop request.

    Returns:
        Verdicts of the table, as a report with ``frame()``; and the trainings that failed.

    Raises:
        UsageFault: unknown table, row, data set, budget, reading, setting or device.
        MissingFault: nothing can run: data or methods are missing.
        InvalidFault: a recipe has faults.
        RunFault: the results folder cannot be written.
        Interrupted: a stop was requested; everything done is saved.
    """
    folders = _folders(out, data_root, use_cache=use_cache)
    catalog = open_catalog(_path(recipe))
    table, _, row = target.partition("/")
    request = Request(budget, seed, tuple((readings or {}).items()), tuple((settings or {}).items()), on)
    runtime = choose_runtime(
        device,
        precision=precision,
        compile=compile,
        deterministic=deterministic,
        checkpoint_activations=checkpoint_activations,
    )
    run = plan_table(catalog, table, folders, runtime, row=row or None, dataset=dataset, request=request, seeds=seeds)
    run.require_runnable()
    said = _call(
        "reproduce", target, dataset=dataset, on=on, budget=budget, seeds=seeds, readings=readings, settings=settings
    )
    execution = run.execute(jobs=jobs, launcher=launcher, observer=observer, command=said)
    report = compare_table(catalog, table, folders.store, datasets=[dataset] if dataset else None)
    return Reproduction((report,), failed=tuple(execution.failed))


def evaluate(
    checkpoint: Path | str | None = None,
    *,
    predictions: Path | str | None = None,
    dataset: str | None = None,
    split: str | None = None,
    classes: str | None = None,
    protocol: str | None = None,
    window: Size | None = None,
    stride: Size | None = None,
    scales: tuple[float, ...] = (),
    flip: bool | None = None,
    scale: float | None = None,
    absent: str = "exclude",
    family: str | None = None,
    model: str | None = None,
    channels: str | None = None,
    mean: str | None = None,
    std: str | None = None,
    align_corners: bool | None = None,
    allow_partial: bool = False,
    averaged: bool = False,
    encoding: str | None = None,
    device: str = "auto",
    precision: str = "auto",
    use_cache: bool = True,
    data_root: Path | str | None = None,
    out: Path | str | None = None,
    observer: Observer = SILENT,
) -> EvalResult:
    """Score any checkpoint, or label files that any program wrote; the scores are recorded.

    Args:
        checkpoint: file, address, ``hf:ORG/NAME`` or registered name.
        predictions: folder of label PNGs, one per image, in place of a checkpoint.
        dataset: to score on; None for that of the checkpoint's classes. Required for ``predictions``.
        split: None for val, or test if there is no val.
        classes: variant of the class table, such as ``pascal-context-60``.
        protocol: ``whole`` (default), ``ms-flip``, ``slide`` or ``published``.
        window, stride: (height, width), for ``slide``.
        scales: in place of the protocol's.
        flip: the mirrored image too; None for as the protocol says.
        scale: factor for images and labels; None for that of the training.
        absent: rule for classes that neither occur nor are predicted: ``exclude``, ``zero`` or ``one``.
        family: project that published the checkpoint; None to detect.
        model: ``module:function`` that builds your own network from the number of classes.
        channels, mean, std: in place of the file's own: ``rgb`` or ``bgr``; a preset or ``"R,G,B"``.
        align_corners: in place of the file's own.
        allow_partial: initialise at random what the file lacks; a deviation.
        averaged: use the moving average of the weights.
        encoding: of ``predictions``: ``train-ids`` or ``label-ids``; None to tell from the values.
        device, precision, use_cache, data_root, out, observer: as of ``reproduce``.

    Raises:
        UsageFault: options that do not exist or cannot be combined.
        MissingFault: checkpoint, data set or label files are missing or faulty.
        InvalidFault: the checkpoint's classes are not those of the data set, or the file has faults.
        RunFault: out of memory, or the results folder cannot be written.
        Interrupted: a stop was requested.
    """
    if (checkpoint is None) == (predictions is None):
        raise UsageFault("Either a checkpoint or predictions are scored.", next="help(segbench.evaluate)")
    folders = _folders(out, data_root, use_cache=use_cache)
    scored = {"dataset": dataset, "split": split, "classes": classes, "protocol": protocol}
    if predictions is not None:
        said = _call("evaluate", predictions=str(predictions), **scored)
        found = find_predictions(
            Path(predictions),
            folders,
            dataset=dataset,
            split=split,
            classes=classes,
            encoding=encoding,
            absent=absent,
            command=said,
        )
        (record,) = run_job(found.job, folders, Runtime(), observer=observer).records
        return EvalResult(record)
    request = EvalRequest(
        str(checkpoint),
        dataset=dataset,
        split=split,
        classes=classes,
        protocol=protocol,
        scale=scale,
        absent=absent,
        family=family,
        model=model,
        convention=parse_convention(channels=channels, mean=mean, std=std, align_corners=align_corners),
        window=window,
        stride=stride,
        scales=scales,
        flip=flip,
        allow_partial=allow_partial,
        averaged=averaged,
    )
    runtime = choose_runtime(device, precision=precision)
    opened = open_checkpoint(request, folders, observer=observer)
    said = _call("evaluate", str(checkpoint), **scored)
    return EvalResult(evaluate_checkpoint(opened, folders, runtime, observer=observer, command=said))


def load(
    checkpoint: Path | str,
    *,
    dataset: str | None = None,
    classes: str | None = None,
    family: str | None = None,
    model: str | None = None,
    allow_partial: bool = False,
    averaged: bool = False,
    device: str = "auto",
    data_root: Path | str | None = None,
    observer: Observer = SILENT,
) -> LoadedModel:
    """Load a network with its preprocessing: ``model(model.preprocess(image))`` are the logits of an image.

    Args:
        checkpoint: file, address, ``hf:ORG/NAME`` or registered name; of segbench or another project.
        dataset: that of the classes; None for the likeliest.
        classes: variant of the class table.
        family: project that published the checkpoint; None to detect.
        model: ``module:function`` that builds your own network from the number of classes.
        allow_partial: initialise at random what the file lacks.
        averaged: use the moving average of the weights.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        data_root: folder of all data sets, your own included.
        observer: receives the progress of a download.

    Returns:
        The network in evaluation mode; ``classes`` are the names in the order of the logits.

    Raises:
        UsageFault: options that do not exist, or no data set is known for the classes.
        MissingFault: there is no such checkpoint.
        InvalidFault: the file has faults, or its classes are not those of the data set.
    """
    own_data.discover(find_folders(data=_path(data_root)).data)
    request = EvalRequest(
        str(checkpoint),
        dataset=dataset,
        classes=classes,
        family=family,
        model=model,
        allow_partial=allow_partial,
        averaged=averaged,
    )
    opened = recognise_checkpoint(request, observer=observer)
    choose_runtime(device).place(opened.model.segmentor)
    return opened.named_model


def _folders(out: Path | str | None, data_root: Path | str | None, *, use_cache: bool) -> Folders:
    """Return the folders, with the user's own data sets registered."""
    folders = find_folders(_path(out), _path(data_root), use_cache=use_cache)
    own_data.discover(folders.data)
    return folders


def _path(path: Path | str | None) -> Path | None:
    return None if path is None else Path(path)


def _call(name: str, /, *positional: str, **named: object) -> str:
    """Return a call of the API in words, for the records; arguments that say nothing are left out."""
    words = [repr(value) for value in positional]
    words += [f"{key}={value!r}" for key, value in named.items() if value]
    return f"segbench.{name}({', '.join(words)})"
