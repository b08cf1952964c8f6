"""``segbench weights list NAME``: all that is known about one file, as text and as JSON."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from segbench.cli import common
from segbench.cli.data.shared import say
from segbench.core.errors import UsageFault

if TYPE_CHECKING:
    from segbench.checkpoints.backbone_weights import ListedWeights
    from segbench.checkpoints.published import PublishedCheckpoint, PublishedFigure
    from segbench.recipe.catalog import Catalog

_MARKS = {"read": "", "user": "*", "recalled": "~"}
_CERTAINTY = {
    "read": "read there",
    "user": "measured by a user of the file",
    "recalled": "recalled, not looked up again: verify it",
}
_METRICS = {"miou": "mIoU", "pixel_accuracy": "pixel accuracy"}


def find(name: str) -> "PublishedCheckpoint | ListedWeights":
    """Return what is registered under a name: a checkpoint, or weights of a backbone.

    Raises:
        UsageFault: nothing is registered under it.
    """
    from segbench.checkpoints.backbone_weights import listed_weights
    from segbench.checkpoints.published import checkpoint_table, close_to

    known: dict[str, PublishedCheckpoint | ListedWeights] = {}
    for listed in listed_weights():
        known.setdefault(listed.published.name, listed)
    known |= {each.name: each for each in checkpoint_table()}
    if name in known:
        return known[name]
    close = ", ".join(close_to(name, list(known)))
    raise UsageFault(
        f"No weights {name!r} are registered." + (f" Close: {close}." if close else ""), next="segbench weights list"
    )


def show(name: str, *, as_json: bool) -> None:
    """Print one file in full.

    Raises:
        UsageFault: it is not registered.
    """
    from segbench.checkpoints.published import PublishedCheckpoint

    found = find(name)
    if isinstance(found, PublishedCheckpoint):
        if as_json:
            common.print_json({"schema": 1, **checkpoint_json(found, common.open_catalog())})
        else:
            _checkpoint(found)
    elif as_json:
        common.print_json({"schema": 1, **backbone_json(found)})
    else:
        _backbone(found)


def marked(figure: "PublishedFigure") -> str:
    """Return the value, marked if it is not the publishers' own or was not looked up."""
    return figure.value + _MARKS[figure.certainty]


def size(published: "PublishedCheckpoint", path: Path | None) -> str:
    """Return the size of the local file, else the published one, else that it is unknown."""
    if path is not None:
        return common.memory(path.stat().st_size)
    return common.memory(int(published.size_mib * 2**20) if published.size_mib else None)


def backbone_words(listed: "ListedWeights") -> str:
    """Return the backbone and its options in words."""
    options = ", ".join(f"{key} {value}" for key, value in listed.backbone.options.items())
    return f"{listed.backbone.name}, {options}" if options else listed.backbone.name


def checkpoint_json(published: "PublishedCheckpoint", catalog: "Catalog") -> dict[str, Any]:
    """Return all that is known about a checkpoint as plain data.

    Args:
        published: the checkpoint.
        catalog: the recipes, for the rows that it stands for.
    """
    from segbench.checkpoints.fetch import known_sha256, local_path

    path = local_path(published)
    return {
        "kind": "checkpoint",
        "name": published.name,
        "family": published.family,
        "project": published.project,
        "network": published.network,
        "parameters": published.parameters or None,
        "dataset": published.data,
        "split": published.split,
        "classes": published.classes,
        "figures": [_figure_json(figure) for figure in published.figures],
        "urls": list(published.urls),
        "hub": published.hub or None,
        "sha256_prefix": published.sha256_prefix or None,
        "sha256_prefix_is": published.digest,
        "size_bytes": path.stat().st_size if path else None,
        "path": str(path) if path else None,
        "sha256": known_sha256(published) or None,
        "licence": published.licence,
        "notes": list(published.notes),
        "stands_for": [each.canonical() for each in catalog.stands_for(published.name)],
    }


def backbone_json(listed: "ListedWeights") -> dict[str, Any]:
    """Return all that is known about weights of a backbone as plain data."""
    from segbench.checkpoints.backbone_weights import local_weights

    path = local_weights(listed.published)
    return {
        "kind": "backbone",
        "name": listed.published.name,
        "backbone": listed.backbone.model_dump(mode="json"),
        "dataset": listed.weights,
        "urls": list(listed.published.urls),
        "hub": None if listed.published.urls else listed.published.name,
        "size_bytes": path.stat().st_size if path else None,
        "path": str(path) if path else None,
        "notes": [listed.published.note] if listed.published.note else [],
    }


def _figure_json(figure: "PublishedFigure") -> dict[str, Any]:
    evaluation = figure.evaluation
    return {
        "metric": figure.metric,
        "value": figure.value,
        "protocol": figure.protocol.words,
        "evaluation": evaluation.canonical() if evaluation is not None else None,
        "beyond_evaluation": figure.protocol.beyond or None,
        "certainty": figure.certainty,
        "source": figure.source,
    }


def _checkpoint(published: "PublishedCheckpoint") -> None:
    from segbench.checkpoints.fetch import known_sha256, local_path

    path = local_path(published)
    parameters = f"; {published.parameters} parameters" if published.parameters else ""
    typer.echo(f"{published.name}: {published.network}{parameters}")
    outputs = "" if published.classes == published.data else f", classes of {published.classes}"
    typer.echo(f"{published.project} (--family {published.family}); {published.data} {published.split}{outputs}\n")
    for figure in published.figures:
        say("", f"{_METRICS[figure.metric]} {figure.value}   {figure.protocol.words}")
        say("  ", f"{figure.source}; {_CERTAINTY[figure.certainty]}")
        if figure.protocol.beyond:
            say("  ", f"not fully expressed as fields of an evaluation: {figure.protocol.beyond}")
    if not published.figures:
        typer.echo("No figure is published for this file.")
    stands_for = common.open_catalog().stands_for(published.name)
    for each in stands_for:
        by = "weights of its authors" if each.by == "authors" else "the same figure is printed for both"
        say("", f"Stands for {each.row} on {each.dataset}: {by}" + (f"; {each.differs}" if each.differs else ""))
    if not stands_for:
        say("", "Stands for no figure of a registered table.")
    typer.echo()
    for url in published.urls:
        typer.echo(url)
    if published.hub:
        typer.echo(f"{published.hub} on the Hugging Face Hub")
    known = size(published, path)
    typer.echo(f"  {'size not published' if known == '-' else known}; {_digest(published)}")
    typer.echo(f"  here: {path}" if path else "  not here")
    if sha256 := known_sha256(published):
        typer.echo(f"  SHA-256 {sha256}, as first seen here")
    say("", f"Licence: {published.licence}")
    for note in published.notes:
        say(" --  ", note)
    command = "eval --checkpoint" if path else "download"
    typer.echo(f"Next: segbench {command if path else f'weights {command}'} {published.name}")


def _digest(published: "PublishedCheckpoint") -> str:
    if not published.sha256_prefix:
        return "no checksum published"
    prefix = f"SHA-256 begins {published.sha256_prefix} in its name"
    return prefix if published.digest == "trusted" else f"{prefix}, which newer files of the project do not match"


def _backbone(listed: "ListedWeights") -> None:
    from segbench.checkpoints.backbone_weights import local_weights

    path = local_weights(listed.published)
    typer.echo(f"{listed.published.name}: {listed.weights} weights of backbone {backbone_words(listed)}")
    for url in listed.published.urls:
        typer.echo(url)
    if not listed.published.urls:
        typer.echo(f"{listed.published.name} on the Hugging Face Hub")
    typer.echo(f"  here: {path}, {common.memory(path.stat().st_size)}" if path else "  not here")
    if listed.published.note:
        say(" --  ", f"{listed.published.note}.")
    typer.echo(f"Next: {'segbench list' if path else f'segbench weights download {listed.published.name}'}")
