"""``segbench data download``: get a data set and prove that it is the right one."""

from pathlib import Path
from typing import Annotated

import typer

from segbench.cli import common
from segbench.core.errors import RunFault

from .shared import Name, say_ok


def command(
    name: Name,
    url: Annotated[
        str | None, typer.Option("--url", metavar="URL", help="Another address of the same archive.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Move what is there aside and begin anew.")] = False,
    data_root: common.DataRoot = None,
    quiet: common.Quiet = False,
) -> None:
    """Get a data set into the data folder, and verify it.

    \b
    Examples:
      segbench data download camvid
      segbench data download camvid --data-root /data --replace
    """
    from segbench.cli.live import Watcher
    from segbench.data import places
    from segbench.data.download import download as fetch

    root = places.data_root(data_root)
    _make(root)
    with Watcher(quiet=quiet) as watcher:
        found = fetch(
            name,
            root,
            url=url,
            replace=replace,
            progress=watcher.counter(f"{name}: download", "bytes"),
            verified=watcher.counter(f"{name}: verify", "pairs"),
        )
    say_ok(found)


def _make(root: Path) -> None:
    """Make the data folder before anything is downloaded.

    Raises:
        RunFault: it cannot be made.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        fault = f"{root} cannot be made: {error.strerror}."
        raise RunFault(fault, next="segbench data download NAME --data-root FOLDER") from error
