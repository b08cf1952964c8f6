"""``segbench data list``: what is here, what is missing, and how to get it."""

from typing import Any

from segbench.cli import common

NO_ROOM = "\nLicences and how to get each: a wider window, or --json."


def command(data_root: common.DataRoot = None, json: common.Json = False) -> None:
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
