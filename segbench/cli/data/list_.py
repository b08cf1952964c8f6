"""``segbench data list``: data sets, their presence on this machine, and how to get them."""

from pathlib import Path
from typing import Annotated, Any

import typer

from segbench.cli import common
from segbench.core.errors import InvalidFault, MissingFault

from . import described


def command(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Show this data set in full.")] = None,
    data_root: common.DataRoot = None,
    json: common.Json = False,
) -> None:
    """List the data sets that recipes name and their presence here; or show one of them in full.

    \b
    Examples:
      segbench data list
      segbench data list camvid --json
    """
    from segbench.core.registry import names
    from segbench.data import places

    root = places.data_root(data_root)
    if name is not None:
        described.show(name, root, as_json=json)
        return
    entries: list[dict[str, Any]] = []
    faulty: list[dict[str, Any]] = []  # of the user's own: the others are listed all the same
    for each in names("dataset"):
        try:
            entries.append(_entry(each, root))
        except (InvalidFault, MissingFault) as error:
            faulty.append({"name": each, "status": "faulty", "faults": list(error.faults)})
    if json:
        common.print_json([*entries, *faulty])
    else:
        _overview(entries, faulty, root)


def _entry(name: str, root: Path) -> dict[str, Any]:
    from segbench.data.describe import describe
    from segbench.data.facts import facts

    known, state = facts(name), describe(name, root)
    return {
        "name": name,
        "title": known.title,
        "status": state.status,
        "folder": str(state.folder) if state.folder else None,
        "layout": state.layout,
        "splits": {split.split: described.split_json(split) for split in state.splits},
        "size_bytes": known.size_bytes,
        "prepared_bytes": state.prepared_bytes,
        "get": described.access(known),
        "account": described.account_lines(known),
        "licence": known.licence,
        "obtain": known.obtain,
    }


def _overview(entries: list[dict[str, Any]], faulty: list[dict[str, Any]], root: Path) -> None:
    from rich.text import Text

    view = common.table("data set", "split", "images", "here", "get it", right=("images",))
    for column in view.columns[:4]:
        column.no_wrap = True
    licences = common.table("data set", "licence")
    licences.columns[0].no_wrap = True
    for entry in entries:
        splits = entry["splits"].values()
        view.add_row(
            "\n".join(_name(entry)),
            "\n".join(entry["splits"]),
            "\n".join(f"{split['accepted'][0]:,}" for split in splits),
            "\n".join(_here(entry["status"], split) for split in splits),
            Text(entry["get"]),
        )
        licences.add_row(entry["name"], Text(entry["licence"]))
    accounts = "".join(f"{entry['title']} needs an {line}.\n" for entry in entries for line in entry["account"])
    here = next((entry["name"] for entry in entries if entry["status"] == "ready"), None)
    common.show(
        view,
        Text(),
        licences,
        *(Text(f"\n{each['name']} has {_faults(each)}: segbench data verify {each['name']}") for each in faulty),
        Text(
            f"\nThey are looked for below {root} (--data-root or SEGBENCH_DATA).\n"
            "Every class table can also be rendered by the embedded generator: --budget smoke needs no data.\n"
            f"{accounts}All about one of them: segbench data list NAME\n"
            f"Next: segbench data {f'verify {here}' if here else 'download camvid'}"
        ),
    )


def _faults(entry: dict[str, Any]) -> str:
    return common.many(len(entry["faults"]), "fault")


def _name(entry: dict[str, Any]) -> list[str]:
    """Return name, size of the unpacked files, and size of the prepared images in the cache folder."""
    prepared = entry["prepared_bytes"]
    more = [f"+{common.memory(prepared)} cache"] if prepared else []
    return [entry["name"], common.memory(entry["size_bytes"]), *more]


def _here(status: str, split: dict[str, Any]) -> str:
    from segbench.data.presence import NO_READER

    if status == NO_READER:
        return NO_READER
    words = [split["status"]]
    words += ["optional"] if split["optional"] and split["status"] != "ready" else []
    return ", ".join([*words, *(["no labels"] if split["secret"] else [])])
