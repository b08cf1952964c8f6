"""``segbench weights list``: known weights, their published figures, and which of them are here."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segbench.cli import common
from segbench.core.errors import UsageFault

from . import described

if TYPE_CHECKING:
    from rich.table import Table

    from segbench.checkpoints.backbone_weights import ListedWeights
    from segbench.checkpoints.published import PublishedCheckpoint


def command(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Show only these weights, in full.")] = None,
    family: Annotated[
        str | None, typer.Option("--family", metavar="NAME", help="Only checkpoints of this family.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option("--dataset", metavar="NAME", help="Only weights of this data set.")
    ] = None,
    json: common.Json = False,
) -> None:
    """List published checkpoints with their figures, and weights of backbones; or show one of them in full.

    \b
    Examples:
      segbench weights list --dataset cityscapes
      segbench weights list mmseg-pspnet-r101-cityscapes-80k --json
    """
    if name is not None:
        if family or dataset:
            raise UsageFault(
                "NAME cannot be combined with --family or --dataset.", next=f"segbench weights list {name}"
            )
        described.show(name, as_json=json)
        return
    from segbench.checkpoints.backbone_weights import listed_weights
    from segbench.checkpoints.published import checkpoint_table

    checkpoints, backbones = checkpoint_table(), listed_weights()
    if family is not None:
        _check("family", family, {each.family for each in checkpoints})
        checkpoints, backbones = tuple(each for each in checkpoints if each.family == family), ()
    if dataset is not None:
        known = {name for each in checkpoint_table() for name in (each.data, each.classes)}
        _check("data set", dataset, known | {each.weights for each in listed_weights()})
        checkpoints = tuple(each for each in checkpoints if dataset in (each.data, each.classes))
        backbones = tuple(each for each in backbones if each.weights == dataset)
    if json:
        catalog = common.open_catalog()
        entries = [described.checkpoint_json(each, catalog) for each in checkpoints]
        common.print_json([*entries, *(described.backbone_json(each) for each in backbones)])
        return
    _overview(checkpoints, backbones)


def _check(what: str, name: str, known: set[str]) -> None:
    """Raise for a name that no weights have.

    Raises:
        UsageFault: they have not.
    """
    if name not in known:
        from segbench.core.registry import choices

        fault = f"There are no weights of {what} {name!r}. {choices(name, sorted(known))}."
        raise UsageFault(fault, next="segbench weights list")


def _overview(checkpoints: "Sequence[PublishedCheckpoint]", backbones: "Sequence[ListedWeights]") -> None:
    from rich.text import Text

    views: list[Any] = []
    for project in dict.fromkeys(each.project for each in checkpoints):
        mine = [each for each in checkpoints if each.project == project]
        views += [_checkpoints(f"{project} (--family {mine[0].family})", mine), Text()]
    if backbones:
        views += [_backbones(backbones), Text()]
    if not views:
        views.append(Text("No weights match both.\n"))
    first = next((each.name for each in checkpoints), None) or next((each.published.name for each in backbones), "NAME")
    marks = {figure.certainty for each in checkpoints for figure in each.figures}
    common.show(
        *views,
        Text(
            f"{'mIoU in %, as published.' if checkpoints else ''}"
            f"{' ~ from memory, to be verified.' * ('recalled' in marks)}"
            f"{' * measured by a user of the file.' * ('user' in marks)}\n"
            "All about one of them: segbench weights list NAME\n"
            f"Next: segbench weights download {first}"
        ),
    )


def _checkpoints(title: str, checkpoints: "Sequence[PublishedCheckpoint]") -> "Table":
    from segbench.checkpoints.fetch import local_path

    wide = not common.is_narrow()
    columns = ("name", *(("network", "data") if wide else ()), "mIoU", "protocol", *(("size",) if wide else ()), "here")
    view = common.table(*columns, right=("mIoU", "size"), title=title)
    view.columns[0].no_wrap = True  # it is what is typed
    for each in checkpoints:
        path = local_path(each)
        figures = [figure for figure in each.figures if figure.metric == "miou"]
        view.add_row(
            each.name,
            *([each.network, f"{each.data} {each.split}"] if wide else []),
            "\n".join(described.marked(figure) for figure in figures) or "-",
            "\n".join(figure.protocol.short for figure in figures),
            *([described.size(each, path)] if wide else []),
            _here(path),
        )
    return view


def _backbones(backbones: "Sequence[ListedWeights]") -> "Table":
    from segbench.checkpoints.backbone_weights import local_weights

    view = common.table("name", "backbone", "data", "size", "here", right=("size",), title="Backbones")
    view.columns[0].no_wrap = True
    for each in backbones:
        path = local_weights(each.published)
        size = common.memory(path.stat().st_size if path else None)
        view.add_row(each.published.name, described.backbone_words(each), each.weights, size, _here(path))
    return view


def _here(path: Path | None) -> str:
    return "no" if path is None else "yes"
