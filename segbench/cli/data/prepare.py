"""``segbench data prepare``: assemble a data set from archives, and decode its images into the cache."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segbench.cli import common
from segbench.core.errors import RunFault, UsageFault

from .shared import Name

if TYPE_CHECKING:
    from segbench.cli.live import Watcher
    from segbench.data.handle import DatasetHandle
    from segbench.data.prepared.cache import Prepared, Split


def command(
    name: Name,
    source: Annotated[
        list[Path] | None,
        typer.Option("--from", metavar="PATH", help="An archive or folder that holds the data set. Repeatable."),
    ] = None,
    split: Annotated[
        list[str] | None,
        typer.Option("--split", metavar="NAME", help="Only this split; default: all with labels. Repeatable."),
    ] = None,
    classes: Annotated[str | None, typer.Option("--classes", metavar="TABLE", help="Another class table.")] = None,
    scale: Annotated[
        float, typer.Option("--scale", metavar="X", min=0.05, max=4.0, help="Resize images and labels by this factor.")
    ] = 1.0,
    remove: Annotated[bool, typer.Option("--remove", help="Delete what was prepared; the data set stays.")] = False,
    redo: Annotated[bool, typer.Option("--redo", help="Decode every image again.")] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Move the data set's folder aside and start over.")
    ] = False,
    data_root: common.DataRoot = None,
    quiet: common.Quiet = False,
    json: common.Json = False,
) -> None:
    """Assemble a data set, and decode every image once, so that training need not.

    \b
    Examples:
      segbench data prepare camvid
      segbench data prepare cityscapes --from leftImg8bit_trainvaltest.zip --from gtFine_trainvaltest.zip
    """
    from segbench.cli.live import Watcher
    from segbench.data import places
    from segbench.data.facts import facts
    from segbench.data.fetching.assemble import assemble
    from segbench.data.fetching.finishing import finish_dataset
    from segbench.data.handle import find_dataset

    options = facts(name)
    if remove:
        if source or redo or replace:
            fault = "--remove cannot be combined with --from, --redo or --replace."
            raise UsageFault(fault, next="segbench data prepare --help")
        _remove(name, tuple(split or ()), as_json=json)
        return
    root = places.data_root(data_root)
    with Watcher(quiet=quiet) as watcher:
        folder = assemble(name, root, source or (), splits=split or (), replace=replace, observer=watcher)
        watcher.note(f"{options.title} lies in {folder}.")
        finish_dataset(name, folder, observer=watcher)
        splits = _listed(find_dataset(name, root, options=options), split, classes, scale)
        waiting = _announce(splits, watcher, redo=redo)
        done = [(item, *_prepare(item, watcher, redo=redo, before=item.split not in waiting)) for item in splits]
    if json:
        common.print_json(
            {
                "schema": 1,
                "dataset": name,
                "folder": str(splits[0].folder),
                "splits": [_as_json(item, prepared, before) for item, prepared, before in done],
            }
        )
        return
    for item, prepared, before in done:
        size = f"{common.many(len(prepared), 'image')}, {common.memory(prepared.bytes)}"
        typer.echo(f" ok  {item.split}: {size}{', prepared before: every checksum matches' if before else ''}")
    typer.echo("Next: segbench list")


def _listed(dataset: "DatasetHandle", wanted: list[str] | None, classes: str | None, scale: float) -> "list[Split]":
    """Return the splits to prepare: those asked for, else all with public labels, optional ones if they are there."""
    from segbench.core.spec import DataSpec
    from segbench.data.open import list_splits

    options = dataset.options
    if not wanted:
        named = [split for split in options.splits if split not in options.secret]
        wanted = [split for split in named if split not in options.optional or dataset.pairs(split)]
    spec = DataSpec(name=dataset.name, splits=tuple(dict.fromkeys(wanted)), classes=classes, scale=scale)
    return list_splits(dataset, spec)


def _announce(splits: "list[Split]", watcher: "Watcher", *, redo: bool) -> set[str]:
    """Announce what will be written and what is free; return the names of the splits to write.

    Raises:
        RunFault: there is no room for all of it.
    """
    from segbench.data.prepared import cache
    from segbench.data.prepared.space import Room, room

    waiting = [item for item in splits if redo or cache.find(item)[0] is None]
    needed, free = 0, 0
    for item in waiting:
        found = room(item)
        needed, free = needed + found.needed, found.free
        watcher.note(f"{item.title}: {common.many(len(item.pairs), 'image')}, {common.memory(found.needed)}")
    names = {item.split for item in waiting}
    if not waiting:
        return names
    place = cache.prepared_root(splits[0].spec.name)
    watcher.note(f"{common.memory(needed)} in {place}, where {common.memory(free)} are free")
    if not Room(needed, free).suffices:
        fault = f"There is no room in {place}: {Room(needed, free)}."
        raise RunFault(fault, next="set SEGBENCH_CACHE to a folder with more room, or add --split or --scale 0.5")
    return names


def _prepare(split: "Split", watcher: "Watcher", *, redo: bool, before: bool) -> "tuple[Prepared, bool]":
    """Prepare a split, or verify what was prepared before; return it, and True if it was kept as it was."""
    from segbench.data.prepared.prepare import prepare

    prepared = prepare(split, redo=redo, observer=watcher)
    broken = prepared.broken(watcher.counter(f"{split.title}: check", "images")) if before else []
    if broken:
        watcher.note(f"{split.title} is prepared again: {common.many(len(broken), 'image')} found damaged.")
        prepared = prepare(split, redo=True, observer=watcher)
    return prepared, before and not broken


def _as_json(split: "Split", prepared: "Prepared", before: bool) -> dict[str, Any]:
    return {
        "split": split.split,
        "classes": split.table.name,
        "scale": split.spec.scale,
        "images": len(prepared),
        "bytes": prepared.bytes,
        "prepared_before": before,
        "folder": str(split.place),
    }


def _remove(name: str, splits: tuple[str, ...], *, as_json: bool) -> None:
    from segbench.data.prepared.space import remove

    freed = remove(name, splits)
    if as_json:
        common.print_json({"schema": 1, "dataset": name, "freed_bytes": freed})
        return
    typer.echo(f"{common.memory(freed)} freed." if freed else f"Nothing of {name} is prepared.")
    typer.echo(f"Next: segbench data prepare {name}")
