"""``segbench compare``: what differs between evaluations of the same images, and how sure that is."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segbench.core.errors import UsageFault

from . import common

if TYPE_CHECKING:
    from segbench.results.paired import Comparison, Evaluated, Interval
    from segbench.results.sides import PrintedSide


def command(
    sides: Annotated[
        list[str], typer.Argument(metavar="A B...", help="Records by id, TABLE/ROW as run, or printed:TABLE/ROW.")
    ],
    dataset: Annotated[str | None, typer.Option("--dataset", metavar="NAME", help="Of rows with several.")] = None,
    recipe: common.Recipe = None,
    data_root: common.DataRoot = None,
    out: common.Out = None,
    json: common.Json = False,
) -> None:
    """Differences by class with 95 % intervals, confusions and images that changed most; tiers of three and more.

    Intervals are over images, drawn in sequences or cities. What the next seed would give is another question: that one
    a report answers.

    \b
    Examples:
      segbench compare contrastiveseg-table2/ce contrastiveseg-table2/ce+contrast
      segbench compare 9eb04e6cf716 printed:semiseg-table1/imagenet-deeplabv2-1_8
    """
    if len(sides) < 2:
        raise UsageFault("Two sides are compared, or more.", next="segbench compare --help")
    from segbench.results.paired import compare_pair, tiers
    from segbench.results.sides import PrintedSide, open_side

    store, catalog = common.open_store(out), common.open_catalog(recipe)
    opened = [open_side(text, store=store, catalog=catalog, dataset=dataset) for text in sides]
    ours = [side for side in opened if not isinstance(side, PrintedSide)]
    printed = [side for side in opened if isinstance(side, PrintedSide)]
    if printed:
        if len(ours) != 1 or len(printed) != 1:
            raise UsageFault("A printed row is compared with one evaluation.", next="segbench compare --help")
        _against_print(printed[0], ours[0], as_json=json)
        return
    keys = _keys(ours[0], data_root)
    if len(ours) > 2:
        found = [[ours[at].name for at in tier] for tier in tiers(ours, keys=keys)]
        if json:
            common.print_json({"tiers": found})
            return
        for number, names in enumerate(found, 1):
            typer.echo(f"tier {number}: {', '.join(names)}")
        typer.echo("Within a tier none can be told from its best, by the images alone.")
        return
    _show(compare_pair(*ours, keys=keys), keys, as_json=json)


def _keys(side: "Evaluated", data_root: Path | None) -> list[str] | None:
    """Return the names of the images if the data are here: they tell sequences apart."""
    from segbench.core.errors import SegbenchError
    from segbench.core.spec import DataSpec
    from segbench.data import places
    from segbench.data.open import open_dataset

    try:
        spec = DataSpec(name=side.dataset, splits=(side.split,))
        images = open_dataset(spec, root=places.data_root(data_root), cache="off")
    except SegbenchError:
        return None
    names = [images.key(index) for index in range(len(images))]
    return names if len(names) == side.images else None


def _show(found: "Comparison", keys: Sequence[str] | None, *, as_json: bool) -> None:
    names = [keys[at] if keys is not None else f"image {at + 1}" for at, _ in found.images]
    if as_json:
        common.print_json(_plain(found, names))
        return
    typer.echo(f"{found.second.name} less {found.first.name}")
    typer.echo(
        f"{found.first.dataset} {found.first.split}, {found.first.images:,} images in {found.blocks} {found.block}"
    )
    for note in found.notes:
        typer.echo(f"Other protocols, {note}")
    grid = common.table("IoU", "difference", "95 % interval", "", right=("difference", "95 % interval"))
    grid.add_row("mean", *_cells(found.miou))
    for name, interval in sorted(found.classes.items(), key=lambda item: -abs(item[1].value)):
        grid.add_row(name, *_cells(interval))
    common.show(grid)
    for label, prediction, change in found.confusions:
        typer.echo(f"{label} called {prediction}: {change:+.1f} % of its pixels")
    for name, (_, change) in zip(names, found.images, strict=True):
        typer.echo(f"{name}: {change:+.1f} mIoU")


def _cells(interval: "Interval") -> tuple[str, str, str]:
    sure = ("higher" if interval.value > 0 else "lower") if interval.is_sure else "not sure"
    return f"{interval.value:+.2f}", f"{interval.low:+.2f} to {interval.high:+.2f}", sure


def _plain(found: "Comparison", names: Sequence[str]) -> dict[str, Any]:
    return {
        "first": found.first.name,
        "second": found.second.name,
        "dataset": found.first.dataset,
        "split": found.first.split,
        "images": found.first.images,
        "blocks": found.blocks,
        "block": found.block,
        "notes": list(found.notes),
        "miou": vars(found.miou),
        "classes": {name: vars(interval) for name, interval in found.classes.items()},
        "confusions": [list(each) for each in found.confusions],
        "changed": [[name, change] for name, (_, change) in zip(names, found.images, strict=True)],
    }


def _against_print(printed: "PrintedSide", ours: "Evaluated", *, as_json: bool) -> None:
    """Show measured less printed, by class; a print has no interval."""
    from segbench.results.sides import less_printed

    found = less_printed(ours, printed)
    if as_json:
        common.print_json({"first": printed.name, "second": ours.name, "differences": found})
        return
    typer.echo(f"{ours.name} ({ours.dataset} {ours.split}) less {printed.name} ({printed.dataset} {printed.split})")
    grid = common.table("IoU", "printed", "here", "difference", right=("printed", "here", "difference"))
    for name, (theirs, mine) in found.items():
        grid.add_row(name, f"{theirs:.2f}", f"{mine:.2f}", f"{mine - theirs:+.2f}")
    common.show(grid)
    typer.echo(f"Whether that is the printed number is a verdict: segbench report {printed.name.split('/')[0]}")
