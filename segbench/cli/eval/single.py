"""One checkpoint by one protocol: found, recognised, scored, recorded and shown."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from segbench.cli import common
from segbench.cli.live import Watcher
from segbench.cli.stopping import Stopper

from .asked import Asked
from .protocol import evaluation_spec
from .recognise import choose_data, names_note, open_subject, sentence
from .show import compared, published_as_data, show

if TYPE_CHECKING:
    from segbench.checkpoints.find import CheckpointFile
    from segbench.checkpoints.loaded_model import LoadedModel
    from segbench.checkpoints.published import PublishedCheckpoint
    from segbench.core.spec import DataSpec, EvaluationSpec
    from segbench.reproduce.context import Context


@dataclass(frozen=True)
class Found:
    """A checkpoint that is ready to be scored.

    Attributes:
        asked: what the user wants.
        source: its file.
        subject: its network.
        data: what it is scored on.
        published: what is published of it; None if nothing is known.
        spec: the protocol that was asked for.
        context: where and how; nobody watches yet.
    """

    asked: Asked
    source: "CheckpointFile"
    subject: "LoadedModel"
    data: "DataSpec"
    published: "PublishedCheckpoint | None"
    spec: "EvaluationSpec"
    context: "Context"

    @property
    def provenance(self) -> dict[str, Any]:
        """What a record says of the file beside its name."""
        more: dict[str, Any] = {"origin": self.source.origin} if self.source.origin else {}
        return more | ({"published": published_as_data(self.published)} if self.published else {})

    @property
    def memory_advice(self) -> str:
        """What may fit where this did not."""
        window = self.spec.window if self.spec.mode == "slide" else None
        size = (512, 1024) if window is None else (max(1, window[0] // 2), max(1, window[1] // 2))
        return f"{self.asked.command} --protocol slide --window {size[0]}x{size[1]}"


def find(
    asked: Asked, device: str, *, precision: str, out: Path | None, data_root: Path | None, stream: bool, quiet: bool
) -> Found:
    """Fetch, open and recognise a checkpoint, and prove that its data set is there.

    Raises:
        UsageFault, MissingFault, InvalidFault, RunFault: what is wrong with the file, the options or the data.
    """
    from segbench.checkpoints.find import find_checkpoint
    from segbench.checkpoints.published import published_for
    from segbench.engine.progress import Silent
    from segbench.engine.runtime import choose_runtime
    from segbench.reproduce.context import Context
    from segbench.reproduce.plan import needed_splits
    from segbench.reproduce.score import require_labels, require_verified

    store = common.open_store(out)
    store.check_writable()
    runtime = choose_runtime(device, precision=precision)
    context = Context(store, runtime, data_root, Silent(), lambda: False, stream=stream)
    with Watcher(quiet=quiet) as watcher:
        source = find_checkpoint(asked.checkpoint, observer=watcher)
    if source.note:
        typer.echo(source.note, err=True)
    subject = open_subject(source, asked)
    published = source.published
    if published is None or published.disowns(subject.sha256):
        published = None if subject.header is not None else published_for(sha256=subject.sha256)
    data = choose_data(asked, subject, published)
    if said := names_note(subject, data):
        subject = replace(subject, notes=(*subject.notes, said))
    if subject.header is None:
        subject = replace(subject, classes=())  # they have decided; what is scored has the names of the data set
    spec = evaluation_spec(asked, subject, data, published)
    require_labels(spec)
    require_verified(needed_splits([], spec), context)
    return Found(asked, source, subject, data, published, spec, context)


def score_one(found: Found, *, quiet: bool, json: bool) -> None:
    """Score by the protocol that was asked for, and print.

    Raises:
        MissingFault, RunFault, Interrupted: as of ``segbench.reproduce.score``.
    """
    from segbench.reproduce.score import checkpoint_record, cost_of, score_all

    subject, spec = found.subject, found.spec
    if not json:
        _introduce(subject)
    with Stopper() as stop, Watcher(quiet=quiet, stop=stop) as watcher:
        watcher.announce(f"{subject.path.name} · {spec.data.name} {spec.data.splits[0]}", 1, 1)
        context = replace(found.context, observer=watcher, stop=stop)
        (result,) = score_all([(subject, spec)], context, advice=found.memory_advice)
        record = checkpoint_record(
            subject,
            spec,
            result,
            context,
            costed=cost_of(subject, spec, result.image_size),
            published=published_protocol(found),
            more=found.provenance,
        )
        context.store.write(record, result.counts())
    if json:
        common.print_json(record.model_dump(mode="json", by_alias=True))
        return
    show(record, subject, spec, on_device=context.runtime.is_cuda)
    command = found.asked.command
    if found.published is not None:
        said, following = compared(record, spec, found.published, command)
        typer.echo(said)
        if following:
            typer.echo(f"Next: {following}")
            return
    if subject.header is None and found.asked.protocol is None and len(spec.scales) == 1:
        typer.echo(f"Next: {found.asked.bare} --sweep")
        return
    typer.echo(f"Next: {command} --protocol {'whole' if len(spec.scales) > 1 else 'ms-flip'}")


def published_protocol(found: Found) -> "EvaluationSpec | None":
    """The protocol of the published figure that a result is compared with: the one that ran, else the first."""
    from .protocol import same_way

    if found.published is None or (found.published.data, found.published.split) != (
        found.data.name,
        found.data.splits[0],
    ):
        return None
    known = [figure.evaluation for figure in found.published.figures if figure.evaluation is not None]
    return next((spec for spec in known if same_way(spec, found.spec)), known[0] if known else None)


def _introduce(subject: "LoadedModel") -> None:
    """Say what the file was recognised as, before anything takes long."""
    if subject.header is not None:
        return
    typer.echo(sentence(subject))
    for note in subject.notes:
        typer.echo(f"Note: {note}")
