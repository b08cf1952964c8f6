"""``segbench data verify``: examination of a data set and the commands that fix it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segbench.cli import common
from segbench.core.errors import MissingFault

from .shared import Name, say, say_findings

if TYPE_CHECKING:
    from segbench.data.doctor.report import Report

_ONE_COLUMN = 24  # classes up to which a table stands in one column
_GAP = "    "


def command(
    name: Name,
    split: Annotated[
        list[str] | None, typer.Option("--split", metavar="NAME", help="Only this split. Repeatable.")
    ] = None,
    redo: Annotated[bool, typer.Option("--redo", help="Read every file again.")] = False,
    data_root: common.DataRoot = None,
    quiet: common.Quiet = False,
    json: common.Json = False,
) -> None:
    """Examine a data set: counts, pairs, files, sizes, label values, classes, leaks. A folder with a manifest.json is a
    label set, the labels that a training gave to images.

    \b
    Examples:
      segbench data verify camvid
      segbench data verify camvid --split val --redo --json
    """
    if (Path(name) / "manifest.json").is_file():
        _label_set(Path(name), as_json=json)
        return
    from segbench.cli.live import Watcher
    from segbench.data import places
    from segbench.data.doctor.diagnose import diagnose
    from segbench.data.verify import next_command

    try:
        with Watcher(quiet=quiet) as watcher:
            progress = watcher.counter(f"{name}: verify", "pairs")
            report = diagnose(name, places.data_root(data_root), splits=split, redo=redo, progress=progress)
    except MissingFault as error:
        if json:
            common.print_json(_absent(name, error))
        raise
    if json:
        common.print_json(report.as_json())
    else:
        _show(report)
    if report.faults:
        kinds = len({finding.kind for finding in report.faults})
        found = f"{common.many(len(report.faults), 'fault')}{f' of {kinds} kinds' if kinds > 1 else ''}"
        raise MissingFault(f"{report.title} cannot be used like this: {found}.", next=next_command(report))
    if not json:
        typer.echo("Next: segbench list")


def _label_set(folder: Path, *, as_json: bool) -> None:
    """Examine a label set: its origin, the shares of its classes, and that every file is the one that was written.

    Raises:
        MissingFault: a file is missing or altered.
        InvalidFault: the manifest does not read.
    """
    from rich.text import Text

    from segbench.data.label_sets import open_label_set

    found = open_label_set(folder)
    faults = list(found.faults())
    made = found.made_by
    if as_json:
        about = {"made_by": vars(made), "images": len(found.images), "kept": found.kept, "shares": found.shares}
        common.print_json({"schema": 1, "label_set": str(folder), "ok": not faults, "faults": faults, **about})
    else:
        sure = "" if made.threshold is None else f" of at least {100 * made.threshold:g} % confidence"
        typer.echo(f"Label set: {folder}")
        typer.echo(
            f"{common.many(len(found.images), 'image')} of {made.data['name']}, labelled by stage {made.stage}{sure}"
        )
        typer.echo(f"training {made.training}, weights sha256 {made.weights_sha256[:16]}")
        table = common.table("class", "share %")
        for name, share in zip(made.classes, found.shares, strict=True):
            table.add_row(name, f"{100 * share:.2f}")
        common.show(table, Text(f"{100 * found.kept:.1f} % of the pixels have a label."))
    if faults:
        shown = [*faults[:3], *([f"{len(faults) - 3:,} more files are wrong."] if len(faults) > 3 else [])]
        raise MissingFault(*shown, next=found.anew)
    if not as_json:
        typer.echo("Every file is the one that was written.\nNext: segbench list")


def _absent(name: str, error: MissingFault) -> dict[str, object]:
    """Return the JSON report of a data set that is not there."""
    findings = [{"level": "fault", "kind": "absent", "text": text, "fix": error.next} for text in error.faults]
    return {"schema": 2, "dataset": name, "folder": None, "ok": False, "findings": findings, "splits": {}}


def _show(report: "Report") -> None:
    """Print the folder, the shares of the classes, and the findings with the faults last."""
    from segbench.data.doctor.report import shorten

    layout = f" ({report.layout})" if report.layout else ""
    typer.echo(f"{report.title}: {report.folder}{layout}{', as verified before' if report.remembered else ''}")
    shares = _shares(report, common.console().width)
    for line in shares:
        typer.echo(line.rstrip())
    if shares:
        say("", "Share of the pixels in %; label values and pixel counts: --json.")
        typer.echo()
    say_findings(shorten(report.findings), report.folder)


def _shares(report: "Report", width: int) -> list[str]:
    """Return a table of every class's share of the pixels per labelled split, in as many columns as fit the width."""
    labelled = [item for item in report.splits if item.tally.pixels]
    if not labelled:
        return []
    mapped = {item.split: item.tally.mapped(report.table) for item in labelled}
    names = [*report.table.names, "(ignored)"]
    rows = [[classes[number] for classes, _, _ in mapped.values()] for number in range(report.table.num_classes)]
    rows.append([ignored for _, ignored, _ in mapped.values()])
    if any(outside for _, _, outside in mapped.values()):
        names.append("(outside the table)")
        rows.append([outside for _, _, outside in mapped.values()])
    pixels = [item.tally.pixels for item in labelled]
    longest = max(len(name) for name in names)
    wide = [max(7, len(split) + 2) for split in mapped]
    head = " " * longest + "".join(f"{split:>{room}}" for split, room in zip(mapped, wide, strict=True))
    cells = [
        f"{name:<{longest}}"
        + "".join(f"{_percent(count, of):>{room}}" for count, of, room in zip(row, pixels, wide, strict=True))
        for name, row in zip(names, rows, strict=True)
    ]
    columns = max(1, (width + len(_GAP)) // (len(head) + len(_GAP))) if len(cells) > _ONE_COLUMN else 1
    height = -(-len(cells) // columns)
    columns = -(-len(cells) // height)
    lines = [_GAP.join(cells[line::height]) for line in range(height)]
    return ["", _GAP.join([head] * columns), *lines]


def _percent(count: int, of: int) -> str:
    return f"{100 * count / of:.2f}" if count else "-"
