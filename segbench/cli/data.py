"""``segbench data``: what is here, what is missing, getting it, and proving that it is the right one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segbench.core.errors import MissingFault, RunFault

from . import common

if TYPE_CHECKING:
    from segbench.data.verify import Verified

NO_ROOM = "\nLicences and how to get each: a wider window, or --json."

app = typer.Typer(invoke_without_command=True, rich_markup_mode=None)
Name = Annotated[str, typer.Argument(metavar="NAME", help="The data set.", show_default=False)]


@app.callback()
def overview(context: typer.Context) -> None:
    """Data sets: list, download, verify.

    \b
    Examples:
      segbench data list
      segbench data download camvid
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command("list")
def list_(data_root: common.DataRoot = None, json: common.Json = False) -> None:
    """Data sets that recipes name, and which are here.

    \b
    Examples:
      segbench data list
      segbench data list --data-root /data --json
    """
    from segbench.core.registry import names
    from segbench.data import places
    from segbench.data.describe import data_status
    from segbench.data.facts import facts
    from segbench.data.reader import is_readable

    entries: list[dict[str, Any]] = []
    for name in names("dataset"):
        known = facts(name)
        status = data_status(name, places.data_root(data_root)) if is_readable(name) else "no reader yet"
        entries.append(
            {
                "name": name,
                "title": known.title,
                "status": status,
                "splits": {split: counts[0] for split, counts in known.splits.items()},
                "size_bytes": known.size_bytes,
                "licence": known.licence,
                "obtain": known.obtain,
            }
        )
    if json:
        common.print_json(entries)
        return
    from rich.text import Text

    narrow = common.is_narrow()
    wide = () if narrow else ("licence", "how to get it")
    view = common.table("data set", "here", "images", "size", *wide, right=("size",))
    view.columns[0].no_wrap = True
    for entry in entries:
        images = " / ".join(f"{count:,} {split}" for split, count in entry["splits"].items())
        size = f"{entry['size_bytes'] / 1e9:.1f} GB"
        more = () if narrow else (Text(entry["licence"]), Text(entry["obtain"]))
        view.add_row(entry["name"], entry["status"], images, size, *more)
    root = places.data_root(data_root)
    here = next((entry["name"] for entry in entries if entry["status"] == "ready"), None)
    common.show(
        view,
        Text(
            f"{NO_ROOM if narrow else ''}\nThey are looked for below {root} (--data-root or SEGBENCH_DATA).\n"
            "Every class table can also be rendered by the embedded generator: --budget smoke needs no data.\n"
            f"Next: segbench data {f'verify {here}' if here else 'download camvid'}"
        ),
    )


@app.command()
def download(
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
    from segbench.data import places
    from segbench.data.download import download as fetch

    from .live import Watcher

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
    _ok(found)


@app.command()
def verify(
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
    from segbench.data import places
    from segbench.data.verify import verify as check

    from .live import Watcher

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
    _ok(found)


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


def _ok(found: "Verified") -> None:
    for line in (*found.lines, f"{found.folder}" + (" (as verified before)" if found.remembered else "")):
        typer.echo(f" ok  {line}")
    typer.echo("Next: segbench list")
