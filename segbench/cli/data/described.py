"""``segbench data list NAME``: everything known about one data set, and its presence on this machine."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from segbench.cli import common

from .shared import say

if TYPE_CHECKING:
    from segbench.data.describe import State
    from segbench.data.facts import Archive, DatasetOptions
    from segbench.data.presence import SplitPresence


def show(name: str, root: Path, *, as_json: bool) -> None:
    """Print one data set in full.

    Raises:
        UsageFault: it is not registered.
    """
    from segbench.data.describe import describe
    from segbench.data.facts import facts

    known = facts(name)
    state = describe(name, root)
    if as_json:
        common.print_json(_as_json(name, known, state))
        return
    _headline(name, root, state, known)
    common.show(_splits(state))
    typer.echo()
    common.show(_tables(known))
    typer.echo()
    for archive in known.archives:
        _archive(archive)
    if known.archives:
        typer.echo()
    accounts = [f"It needs an {line}." for line in account_lines(known)]
    for line in (f"Licence: {known.licence}", f"Get it: {known.obtain}", *accounts):
        say("", line)
    for note in known.notes:
        say(" --  ", note)
    for command in commands(name, known, state):
        typer.echo(f"Next: {command}")


def access(known: "DatasetOptions") -> str:
    """Return ``download``, ``account`` (a download that needs one) or ``by hand``."""
    if not known.archives:
        return "by hand"
    return "account" if any(archive.account for archive in known.archives) else "download"


def account_lines(known: "DatasetOptions") -> list[str]:
    """Return a line on each account that a data set needs, with its environment variables."""
    if not any(archive.account for archive in known.archives):
        return []
    from segbench.data.fetching.accounts import account

    names = dict.fromkeys(archive.account for archive in known.archives if archive.account)
    sites = [account(name) for name in names]
    return [f"account at {site.REGISTER}, then set {site.USERNAME} and {site.PASSWORD}" for site in sites]


def commands(name: str, known: "DatasetOptions", state: "State") -> list[str]:
    """Return the commands to type next, in order."""
    from segbench.data.presence import NO_READER

    if state.status == NO_READER:
        return ["segbench list"]
    if state.status == "ready":
        return [f"segbench data verify {name}"]
    if not known.archives:
        return [f"segbench data verify {name}"]
    return [f"segbench data prepare {name} --from FOLDER", f"segbench data download {name}"]


def split_json(split: "SplitPresence") -> dict[str, Any]:
    return {
        "accepted": list(split.accepted),
        "found": split.found,
        "status": split.status,
        "optional": split.optional,
        "secret": split.secret,
    }


def _headline(name: str, root: Path, state: "State", known: "DatasetOptions") -> None:
    where = f"in {state.folder}" if state.folder else f"under {root}"
    layout = f" ({state.layout})" if state.layout else ""
    typer.echo(f"{known.title} ({name}): {state.status} {where}{layout}")
    size = "{}x{} (height x width)".format(*known.native_size) if known.native_size else "of different sizes"
    prepared = f"; {common.memory(state.prepared_bytes)} prepared" if state.prepared_bytes else ""
    typer.echo(f"Images {size}; {common.memory(known.size_bytes)} unpacked{prepared}.\n")


def _splits(state: "State") -> Any:
    several = any(len(split.accepted) > 1 for split in state.splits)
    counts = ("images", *(("in use too",) if several else ()))
    view = common.table("split", *counts, "here", "", right=counts)
    for split in state.splits:
        words = ["optional"] if split.optional else []
        words += ["labels secret"] if split.secret else []
        others = (", ".join(f"{count:,}" for count in split.accepted[1:]),) if several else ()
        view.add_row(split.split, f"{split.accepted[0]:,}", *others, split.status, ", ".join(words))
    return view


def _tables(known: "DatasetOptions") -> Any:
    from segbench.data.classes import IGNORE, class_table
    from segbench.data.doctor.report import spans

    view = common.table("class table", "classes", "label values", "ignored", right=("classes",))
    for place, name in enumerate((known.table, *known.variants)):
        table = class_table(name)
        ignored = [value for value, train_id in table.values if train_id == IGNORE]
        values = spans([value for value, _ in table.values])
        usual = " (default)" if place == 0 and known.variants else ""
        view.add_row(f"{name}{usual}", str(table.num_classes), values, spans(ignored) or "-")
    return view


def _archive(archive: "Archive") -> None:
    size = common.memory(archive.size_bytes) if archive.size_bytes else "size not published"
    serves = f" for {', '.join(archive.splits)}" if archive.splits else ""
    account = f"; account {archive.account}" if archive.account else ""
    typer.echo(f"{archive.name}{serves}: {size}{account}")
    for url in archive.urls:
        typer.echo(f"  {url}")
    for kind, value in archive.checksums.items():
        typer.echo(f"  {kind} {value}")
    if not archive.checksums:
        typer.echo("  no checksum published")


def _as_json(name: str, known: "DatasetOptions", state: "State") -> dict[str, Any]:
    from segbench.data.classes import class_table

    tables = [class_table(table) for table in (known.table, *known.variants)]
    return {
        "schema": 1,
        "name": name,
        "title": known.title,
        "status": state.status,
        "folder": str(state.folder) if state.folder else None,
        "layout": state.layout,
        "native_size": list(known.native_size) if known.native_size else None,
        "size_bytes": known.size_bytes,
        "prepared_bytes": state.prepared_bytes,
        "splits": {split.split: split_json(split) for split in state.splits},
        "class_tables": [
            {"name": table.name, "classes": list(table.names), "values": dict(table.values), "source": table.source}
            for table in tables
        ],
        "archives": [archive.model_dump(mode="json") for archive in known.archives],
        "get": access(known),
        "account": account_lines(known),
        "licence": known.licence,
        "obtain": known.obtain,
        "notes": list(known.notes),
        "commands": commands(name, known, state),
    }
