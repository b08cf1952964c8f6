"""Predictions for a server that alone has the labels, and the score that it answers with.

An export lies in ``exports/<evaluation>`` of the results folder: the predictions as they are made (so that a stopped
export resumes), and at the end ``record.json``, the record of the evaluation without its figures. ``enter_score``
completes it with the server's figures; from then on it counts as any other record does.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path, PurePosixPath
from types import ModuleType

import torch
from PIL import Image
from pydantic import ValidationError

from segbench.checkpoints.loaded_model import LoadedModel, open_weights
from segbench.core import atomic
from segbench.core.errors import Interrupted, InvalidFault, MissingFault, RunFault, UsageFault, first_line
from segbench.core.hashing import file_sha256
from segbench.core.progress import SILENT, Observer, Progress
from segbench.core.spec import EvaluationSpec, Size, evaluation_id
from segbench.data import submission
from segbench.data.handle import find_dataset
from segbench.data.open import open_dataset
from segbench.engine.folder import read_summary
from segbench.engine.predict import eval_mode, predict
from segbench.engine.runtime import Runtime
from segbench.recipe.catalog import Catalog
from segbench.recipe.resolve import Request
from segbench.results.record import Record
from segbench.results.store import Store

from .conventions import checkpoint_deviations, convention_of
from .evaluate.checkpoint import recognise_checkpoint
from .evaluate.protocol import evaluation_spec
from .evaluate.request import EvalRequest
from .folders import Folders
from .job import AnswerJob, CheckpointJob, CheckpointTask, EvaluationTask, TrainingJob, command_line
from .outcome import Export, ServerAnswer
from .plan import make_plan, task_of
from .records import now, record_of
from .training import weights_to_score

RECORD = "record.json"


@dataclass(frozen=True)
class Exported:
    """An archive that keeps the rules of its server.

    Attributes:
        evaluation: id of the evaluation.
        archive: the file.
        sha256: of the file.
        images: number of predictions.
        server: where it is handed in.
    """

    evaluation: str
    archive: Path
    sha256: str
    images: int
    server: submission.Server


@dataclass(frozen=True)
class Exportable:
    """A network and the split that only a server can score.

    Attributes:
        job: training or checkpoint; for the record.
        task: evaluation that the server is asked for.
        model: the network.
    """

    job: TrainingJob | CheckpointJob
    task: EvaluationTask
    model: LoadedModel


def export(
    exportable: Exportable,
    archive: Path | None,
    folders: Folders,
    runtime: Runtime,
    *,
    observer: Observer = SILENT,
) -> Exported:
    """Predict a whole split, pack the predictions, and check the archive as the server would.

    Args:
        exportable: network and split.
        archive: file to write; None for a name beside the predictions.
        folders: results and data.
        runtime: device and precision.
        observer: receives progress, and is polled for a stop request.

    Raises:
        UsageFault: no server scores that split.
        MissingFault: images of the split are missing.
        InvalidFault: the checkpoint has other classes, or the archive breaks a rule.
        RunFault: the disk is full.
        Interrupted: a stop was requested; the predictions so far are kept.
    """
    task, model = exportable.task, exportable.model
    data = task.spec.data
    module = submission.server_of(data.name, data.splits[0])
    folder = folders.results / "exports" / task.id
    archive = archive or folder / f"{data.name}-{data.splits[0]}-{task.id}{module.SERVER.suffix}"
    if not archive.name.endswith(module.SERVER.suffix):
        raise UsageFault(f"{module.SERVER.title} takes a {module.SERVER.suffix} file, not {archive.name}.")
    sizes = _sizes(data.name, data.splits[0], folders, module)
    predictions = folder / f"predictions-{model.identity[:12]}"  # never taken over from other weights
    _predict_all(model, task.spec, predictions, sizes, module, folders, runtime, observer)
    sha256 = submission.pack(predictions, list(sizes), archive)
    faults = submission.check(archive, sizes, module.VALUES)
    if faults:
        raise InvalidFault(*(f"{archive.name}: {fault}." for fault in faults), next="the same command again")
    outcome = Export(task, model, runtime, archive.name, sha256, len(sizes))
    record = record_of(exportable.job, outcome)
    atomic.write_json(folder / RECORD, record.model_dump(mode="json", by_alias=True))
    return Exported(record.id, archive, sha256, len(sizes), module.SERVER)


def exportable_row(
    catalog: Catalog, table: str, row: str, folders: Folders, *, dataset: str | None, request: Request
) -> Exportable:
    """Return a row's trained network, on the split that only a server can score.

    Raises:
        UsageFault: no such row, several data sets, or figures that can be scored here.
        MissingFault: the row cannot run here, or was not trained yet.
    """
    target = f"{table}/{row}"
    plan = make_plan(catalog, table, folders, row=row, dataset=dataset, request=request)
    if len(plan.items) > 1:
        known = ", ".join(item.resolved.dataset for item in plan.items)
        raise UsageFault(f"{target} has figures on {known}.", next=f"segbench export {target} --dataset NAME")
    (item,) = plan.items
    again = f"segbench reproduce {target}" + (f" --dataset {dataset}" if dataset else "")
    if item.status == "waits":
        raise MissingFault(f"{target} cannot run here: {item.reason}.", next="segbench list")
    resolved = item.resolved
    training, spec = resolved.ran.training, resolved.ran.evaluation
    if training is None or spec is None or resolved.scored == spec:
        generated = spec is not None and spec.data.source == "generated"
        why = "is scored on generated scenes at this budget" if generated else "can be scored here"
        raise UsageFault(f"{resolved.name} {why}: no server is needed.", next=f"segbench report {table}")
    folder = folders.store.training_folder(item.training)
    if read_summary(folder) is None:
        raise MissingFault(f"{target} was not trained in {folders.results} yet.", next=again)
    task = task_of(item, spec)
    job = TrainingJob((item.name,), resolved.runs_on, training, (task,), command_line())
    return Exportable(job, task, open_weights(weights_to_score(folder, spec)))


def exportable_checkpoint(request: EvalRequest, *, observer: Observer = SILENT) -> Exportable:
    """Return a checkpoint's network, on the split that only a server can score.

    Raises:
        UsageFault: no such protocol or data set, or no server scores the split.
        MissingFault, InvalidFault: the file is missing, or no checkpoint.
    """
    opened = recognise_checkpoint(request, observer=observer)
    submission.server_of(opened.data.name, opened.data.splits[0])
    data = opened.data.model_copy(update={"source": "folder", "images": None})
    spec = evaluation_spec(request, opened.model, data, opened.source.published)
    found = checkpoint_deviations(opened.model, spec, None)
    task = CheckpointTask(
        evaluation_id(opened.model.identity, spec),
        spec,
        tuple(each.as_json() for each in found),
        convention=convention_of(opened.model),
    )
    return Exportable(opened.job([task]), task, opened.model)


def enter_score(
    store: Store, archive: Path, figures: Mapping[str, float], *, day: date, link: str = ""
) -> tuple[Record, Path]:
    """Complete an export's record with what the server answered.

    Args:
        store: the results folder that the export was made in.
        archive: the file that was handed in; found again by its content.
        figures: metric to value in percent.
        day: when the server answered.
        link: address of the public result, if there is one.

    Returns:
        The record and where it was written.

    Raises:
        MissingFault: the archive is not there, or is not one that was exported to this results folder.
        UsageFault: a metric that the server does not answer with, or a value that is no percentage.
    """
    sha256 = _sha256(archive)
    found = [record for record in _waiting(store) if record.provenance.get("archive_sha256") == sha256]
    if not found:
        raise MissingFault(
            f"{archive.name} is none of the archives that were exported to {store.root}.", next="segbench export --help"
        )
    record = found[0]
    server = submission.server_of(record.dataset, record.split).SERVER
    faults = [
        f"{server.title} does not answer with {name!r}, but with {', '.join(server.metrics)}."
        for name in figures
        if name not in server.metrics
    ]
    faults += [f"{name}: {value:g} is no percentage." for name, value in figures.items() if not 0 <= value <= 100]
    if "miou" not in figures:
        faults.append("miou is missing: it is what the verdict rests on.")
    if faults:
        raise UsageFault(*faults, next="segbench results server-score --help")
    answer = ServerAnswer(dict(figures), server.title, day, link, now(), store.find(record.id))
    scored = record_of(AnswerJob(record), answer)
    return scored, store.write(scored)


def _sizes(dataset: str, split: str, folders: Folders, module: ModuleType) -> dict[str, Size]:
    """Return the size of each image by its path in the archive, in the data set's order."""
    found = find_dataset(dataset, folders.data)
    options, listed = found.options, found.pairs(split)
    expected = options.splits[split]
    if len(listed) not in expected:
        raise MissingFault(
            f"{options.title} {split} has {len(listed):,} images here, the server wants {expected[0]:,}.",
            next=f"segbench data verify {dataset} --split {split}",
        )
    sizes: dict[str, Size] = {}
    for pair in listed:
        try:
            with Image.open(pair.image) as image:  # only the header is read
                sizes[module.member(pair.key)] = (image.height, image.width)
        except OSError as error:
            raise MissingFault(f"{pair.image} is no image: {error}.", next=f"segbench data verify {dataset}") from error
    return sizes


def _predict_all(
    model: LoadedModel,
    spec: EvaluationSpec,
    folder: Path,
    sizes: Mapping[str, Size],
    module: ModuleType,
    folders: Folders,
    runtime: Runtime,
    observer: Observer,
) -> None:
    """Write a PNG per image, each whole or not at all; those that exist are kept."""
    runtime.apply()
    segmentor = model.segmentor
    runtime.place(segmentor)
    images = open_dataset(spec.data, root=folders.data, ram_bytes=0)
    if model.num_classes != images.classes.num_classes or model.classes not in ((), images.classes.names):
        raise InvalidFault(
            f"The checkpoint's {model.num_classes} classes are not the {images.classes.num_classes} of "
            f"{images.classes.name}: its predictions would mean nothing there.",
            next=f"segbench eval --checkpoint {model.path}",
        )
    began = time.perf_counter()
    with eval_mode(segmentor, runtime), torch.inference_mode():
        for index in range(len(images)):
            key = images.key(index)
            member = module.member(key)
            path = folder / PurePosixPath(member)
            if not path.is_file():
                if observer.stop_requested():
                    raise Interrupted(
                        f"{index:,} of {len(images):,} images are predicted and kept.", next="the same command again"
                    )
                pixels, _ = images.read(index)
                image = torch.tensor(pixels).permute(2, 0, 1)[None].to(runtime.device)
                ids = predict(segmentor, image, spec, input=model.input, size=sizes[member], runtime=runtime)
                atomic.write_bytes(path, module.encode(ids[0].cpu().numpy(), images.classes))
            done, total, elapsed = index + 1, len(images), time.perf_counter() - began
            rate = done / elapsed if elapsed > 0 else 0.0
            left = (total - done) / rate if rate else None
            observer.report(Progress("export", done, total, images_per_second=rate, seconds_left=left))


def _waiting(store: Store) -> list[Record]:
    found = []
    for path in sorted((store.root / "exports").glob(f"*/{RECORD}")):
        try:
            found.append(Record.model_validate(json.loads(path.read_text(encoding="utf-8"))))
        except (ValueError, ValidationError) as error:
            raise InvalidFault(f"{path} does not read: {first_line(error)}", next="segbench export") from error
    return found


def _sha256(path: Path) -> str:
    try:
        return file_sha256(path)
    except FileNotFoundError:
        raise MissingFault(f"There is no file {path}.", next="segbench results server-score --help") from None
    except OSError as error:
        raise RunFault(f"{path}: {error.strerror}.", next="segbench results server-score --help") from error
