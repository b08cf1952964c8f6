"""``segbench data``: what is here, what is missing, getting it, and proving that it is the right one."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import common

if TYPE_CHECKING:
    from segbench.data.verify import Verified

app = typer.Typer(help="Data sets: list, download, verify.", no_args_is_help=True)


@app.command("list")
def list_(data_root: common.DataRoot = None, json: common.Json = False) -> None:
    """Data sets that segbench reads, and whether they are here."""
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
    from rich.table import Table

    view = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("data set", "here", "images", "size", "licence", "how to get it"):
        view.add_column(title, overflow="fold", justify="right" if title == "size" else "left")
    for entry in entries:
        images = " / ".join(f"{count:,} {split}" for split, count in entry["splits"].items())
        size = f"{entry['size_bytes'] / 1e9:.1f} GB"
        view.add_row(entry["name"], entry["status"], images, size, entry["licence"], entry["obtain"])
    common.show(
        view, "\nEvery class table can also be rendered by the embedded generator: --budget smoke needs no data."
    )


@app.command()
def download(
    name: Annotated[str, typer.Argument(help="The data set.")],
    url: Annotated[str | None, typer.Option("--url", help="Another address of the same archive.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Move what is there aside and begin anew.")] = False,
    data_root: common.DataRoot = None,
    quiet: common.Quiet = False,
) -> None:
    """Download a data set into the data folder, and verify it.

    segbench data download camvid
    """
    from segbench.data import places
    from segbench.data.download import download as fetch

    from .live import Counter

    with Counter(f"{name}: download", unit="bytes", quiet=quiet) as bytes_done:
        with Counter(f"{name}: verify", unit="pairs", quiet=quiet) as pairs_done:
            found = fetch(
                name,
                places.data_root(data_root),
                url=url,
                replace=replace,
                progress=bytes_done.report,
                verified=pairs_done.report,
            )
    _ok(found)


@app.command()
def verify(
    name: Annotated[str, typer.Argument(help="The data set.")],
    redo: Annotated[bool, typer.Option("--redo", help="Read every file again.")] = False,
    data_root: common.DataRoot = None,
    quiet: common.Quiet = False,
    json: common.Json = False,
) -> None:
    """Counts, pairs, sizes and label values, each problem with its fix.

    segbench data verify camvid
    """
    from segbench.data import places
    from segbench.data.verify import verify as check

    from .live import Counter

    with Counter(f"{name}: verify", unit="pairs", quiet=quiet) as counter:
        found = check(name, places.data_root(data_root), redo=redo, progress=counter.report)
    if json:
        common.print_json({"schema": 1, "folder": str(found.folder), "ok": True, "lines": list(found.lines)})
        return
    _ok(found)


def _ok(found: "Verified") -> None:
    for line in (*found.lines, f"{found.folder}" + (" (as verified before)" if found.remembered else "")):
        typer.echo(f" ok  {line}")
