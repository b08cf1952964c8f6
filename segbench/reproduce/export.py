"""Predictions for a server that alone knows the labels, and the score that it answers with.

An export lies in ``exports/<evaluation>`` of the results folder: the predictions as they are made (so that a stopped
export goes on), and at the end ``record.json``, the record of the evaluation without its figures. ``enter_score``
completes it with the server's figures; from then on it counts as any other record does.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any

import torch
from PIL import Image
from pydantic import ValidationError

from segbench.checkpoints.loaded_model import LoadedModel
from segbench.core import atomic
from segbench.core.errors import Interrupted, InvalidFault, MissingFault, RunFault, UsageFault, first_line
from segbench.core.hashing import file_sha256
from segbench.core.spec import EvaluationSpec, Size, evaluation_id
from segbench.data import submission
from segbench.data.handle import find_dataset
from segbench.data.open import open_dataset
from segbench.engine.predict import eval_mode, predict
from segbench.engine.progress import Progress
from segbench.recipe import deviations
from segbench.results.record import Record
from segbench.results.store import Store

from .context import Context, provenance
from .plan import Item

RECORD = "record.json"


@dataclass(frozen=True)
class Exported:
    """An archive that its own server's rules allow to be handed in."""

    archive: Path
    sha256: str
    images: int
    server: submission.Server


def export(
    subject: LoadedModel, spec: EvaluationSpec, record: Record, archive: Path | None, context: Context
) -> Exported:
    """Predict a whole split, pack the predictions, and check the archive as the server would.

    Args:
        subject: the network.
        spec: the protocol; its data names the split that the server scores.
        record: what the evaluation's record will be once there are figures.
        archive: where to write; None for a name beside the predictions.
        context: where and how.

    Raises:
        UsageFault: no server scores that split.
        MissingFault: images of the split are missing.
        InvalidFault: the checkpoint has other classes, or the archive breaks a rule.
        RunFault: the disk is full.
        Interrupted: stopped; the predictions that are made are kept.
    """
    data = spec.data
    module = submission.server_of(data.name, data.splits[0])
    folder = context.store.root / "exports" / record.id
    archive = archive or folder / f"{data.name}-{data.splits[0]}-{record.id}{module.SERVER.suffix}"
    if not archive.name.endswith(module.SERVER.suffix):
        raise UsageFault(f"{module.SERVER.title} takes a {module.SERVER.suffix} file, not {archive.name}.")
    sizes = _sizes(data.name, data.splits[0], context, module)
    predictions = folder / f"predictions-{subject.identity[:12]}"  # of other weights nothing may be taken over
    _predict_all(subject, spec, predictions, sizes, module, context)
    sha256 = submission.pack(predictions, list(sizes), archive)
    faults = submission.check(archive, sizes, module.VALUES)
    if faults:
        raise InvalidFault(*(f"{archive.name}: {fault}." for fault in faults), next="the same command again")
    about = {**record.provenance, "archive": archive.name, "archive_sha256": sha256}
    finished = record.model_copy(update={"provenance": about, "images": len(sizes)})
    atomic.write_json(folder / RECORD, finished.model_dump(mode="json", by_alias=True))
    return Exported(archive, sha256, len(sizes), module.SERVER)


def record_of_row(item: Item, context: Context) -> Record:
    """The record, still without figures, of a row's training on the split that only a server can score.

    Raises:
        UsageFault: the row's figures can be scored here, or it is scored on generated scenes.
    """
    resolved = item.resolved
    training, evaluation = resolved.ran.training, resolved.ran.evaluation
    if training is None or evaluation is None or resolved.scored == evaluation:
        generated = evaluation is not None and evaluation.data.source == "generated"
        why = "is scored on generated scenes at this budget" if generated else "can be scored here"
        raise UsageFault(f"{resolved.name} {why}: no server is needed.", next=f"segbench report {resolved.table.name}")
    return Record(
        id=evaluation_id(item.training, evaluation),
        kind="training",
        training=item.training,
        family=training.family(),
        seed=item.seed,
        budget=resolved.request.budget,
        dataset=evaluation.data.name,
        split=evaluation.data.splits[0],
        training_spec=training.canonical(),
        evaluation_spec=evaluation.canonical(),
        figures={},
        deviations=[each.as_json() for each in deviations.between(resolved.published, resolved.ran)],
        provenance=provenance(context.runtime),
    )


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
    about: dict[str, Any] = {"by": server.title, "day": day.isoformat(), "link": link}
    earlier = store.find(record.id)
    if earlier is not None:  # every answer that was entered stays: nobody can quietly enter until it fits
        before = earlier.provenance.get("scored", {})
        about["earlier"] = [*before.get("earlier", []), {"figures": dict(earlier.figures), "day": before.get("day")}]
    entered = datetime.now(UTC).isoformat(timespec="seconds")
    scored = record.model_copy(
        update={
            "figures": dict(figures),
            "provenance": {**record.provenance, "scored": {**about, "entered": entered}},
        }
    )
    return scored, store.write(scored)


def _sizes(dataset: str, split: str, context: Context, module: ModuleType) -> dict[str, Size]:
    """Member path to the size of its image, in the data set's order."""
    found = find_dataset(dataset, context.data_root)
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
    subject: LoadedModel,
    spec: EvaluationSpec,
    folder: Path,
    sizes: Mapping[str, Size],
    module: ModuleType,
    context: Context,
) -> None:
    """One PNG an image, each whole or not there; those that are there already are kept."""
    runtime = context.runtime
    runtime.apply()
    segmentor = subject.segmentor
    runtime.place(segmentor)
    images = open_dataset(spec.data, root=context.data_root, ram_bytes=0)
    if subject.num_classes != images.classes.num_classes or subject.classes not in ((), images.classes.names):
        raise InvalidFault(
            f"The checkpoint's {subject.num_classes} classes are not the {images.classes.num_classes} of "
            f"{images.classes.name}: its predictions would mean nothing there.",
            next=f"segbench eval --checkpoint {subject.path}",
        )
    began = datetime.now(UTC)
    with eval_mode(segmentor, runtime), torch.inference_mode():
        for index in range(len(images)):
            key = images.key(index)
            member = module.member(key)
            path = folder / PurePosixPath(member)
            if not path.is_file():
                if context.stop():
                    raise Interrupted(
                        f"{index:,} of {len(images):,} images are predicted and kept.", next="the same command again"
                    )
                pixels, _ = images.read(index)
                image = torch.tensor(pixels).permute(2, 0, 1)[None].to(runtime.device)
                ids = predict(segmentor, image, spec, input=subject.input, size=sizes[member], runtime=runtime)
                atomic.write_bytes(path, module.encode(ids[0].cpu().numpy(), images.classes))
            _report(context, index + 1, len(images), began)


def _report(context: Context, done: int, total: int, began: datetime) -> None:
    elapsed = (datetime.now(UTC) - began).total_seconds()
    rate = done / elapsed if elapsed > 0 else 0.0
    left = (total - done) / rate if rate else None
    context.observer.report(Progress("export", done, total, images_per_second=rate, seconds_left=left))


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
