"""``segbench data verify``: is the data what it claims to be?"""

from typing import Annotated

import typer

from segbench.cli import common
from segbench.core.errors import MissingFault

from .shared import Name, say_ok


def command(
    name: Name,
    redo: Annotated[bool, typer.Option("--redo", help="Read every file again.")] = False,
    data_root: common.DataRoot = None,
    quiet: common.Quiet = False,
    json: common.Json = False,
) -> None:
    """Check counts, pairs, sizes and label values.

    \b
    Examples:
      segbench data verify camvid
      segbench data verify camvid --redo --json
    """
    from segbench.cli.live import Watcher
    from segbench.data import places
    from segbench.data.verify import verify as check

    try:
        with Watcher(quiet=quiet) as watcher:
            progress = watcher.counter(f"{name}: verify", "pairs")
            found = check(name, places.data_root(data_root), redo=redo, progress=progress)
    except MissingFault as error:
        if json:
            common.print_json({"schema": 1, "folder": None, "ok": False, "lines": list(error.faults)})
        raise
    if json:
        common.print_json({"schema": 1, "folder": str(found.folder), "ok": True, "lines": list(found.lines)})
        return
    say_ok(found)
