"""``segbench data download``: download a data set and verify it."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segbench.cli import common
from segbench.core.errors import RunFault, UsageFault

from .shared import Name, say, say_ok

if TYPE_CHECKING:
    from segbench.data.fetching.ledger import Entry


def command(
    name: Name,
    split: Annotated[
        list[str] | None,
        typer.Option("--split", metavar="SPLIT", help="Only what this split needs, optional ones too. Repeatable."),
    ] = None,
    url: Annotated[
        list[str] | None,
        typer.Option("--url", metavar="[ARCHIVE=]URL", help="Another address of an archive. Repeatable."),
    ] = None,
    keep_archives: Annotated[bool, typer.Option("--keep-archives", help="Keep archives that are unpacked.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Move what is there aside and start over.")] = False,
    data_root: common.DataRoot = None,
    quiet: common.Quiet = False,
) -> None:
    """Download a data set into the data folder, and verify it.

    \b
    Examples:
      segbench data download camvid
      segbench data download voc2012 --split train --split val --data-root /data
    """
    from segbench.cli.live import Watcher
    from segbench.data import places
    from segbench.data.fetching.download import download
    from segbench.data.fetching.resources import RESOURCES

    if name in RESOURCES:
        _resource(name, plain=not (split or url or keep_archives or replace))
        return
    root = places.data_root(data_root)
    _create(root)
    done: list[Entry] = []
    try:
        with Watcher(quiet=quiet) as watcher:
            found = download(
                name,
                root,
                splits=split or (),
                urls=url or (),
                replace=replace,
                keep_archives=keep_archives,
                observer=watcher,
                unpacked=done.append,
                command=_command(name, split, url, data_root, keep_archives, replace),
            )
    finally:
        show_unpacked(done)
    say_ok(found)


def _resource(name: str, *, plain: bool) -> None:
    """Download what is not a data set: a few small files that a reading needs.

    Raises:
        UsageFault: an option that is for data sets only was given.
    """
    from segbench.data.fetching.resources import RESOURCES, get_all

    found, again = RESOURCES[name], f"segbench data download {name}"
    if not plain:
        raise UsageFault(f"{name} is a few small files; options for archives cannot be combined with it.", next=again)
    with common.busy(f"Downloading {found.title} ..."):
        folder = get_all(name)
    size = sum(file.size_bytes or 0 for file in found.files)
    say(" ok  ", f"{found.title}: {common.many(len(found.files), 'file')}, {size / 1e3:,.0f} kB in {folder}")
    say(" ok  ", f"every SHA-256 is the one expected. {found.licence}")
    typer.echo("Next: segbench list")


def _command(
    name: str,
    split: list[str] | None,
    url: list[str] | None,
    data_root: Path | None,
    keep_archives: bool,
    replace: bool,
) -> str:
    """Return the command line of this very work."""
    words = ["segbench", "data", "download", name]
    for flag, values in (("--split", split), ("--url", url), ("--data-root", [str(data_root)] if data_root else None)):
        words += [word for value in values or () for word in (flag, value)]
    return shlex.join([*words, *["--keep-archives"] * keep_archives, *["--replace"] * replace])


def show_unpacked(entries: "list[Entry]") -> None:
    """Print the archives that were unpacked, with their checksums; nothing if there are none."""
    if not entries:
        return
    view = common.table("archive", "files", "SHA-256", right=("files",))
    for entry in entries:
        view.add_row(entry.name, f"{entry.files:,}", entry.sha256)
    common.show(view)


def _create(root: Path) -> None:
    """Create the data folder before anything is downloaded.

    Raises:
        RunFault: it cannot be created.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        fault = f"{root} cannot be created: {error.strerror}."
        raise RunFault(fault, next="segbench data download NAME --data-root FOLDER") from error
