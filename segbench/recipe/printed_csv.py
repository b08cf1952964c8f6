"""Printed tables as CSV files: one value a line, or one row of the table a line."""

import csv
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path

from segbench.core.errors import InvalidFault, MissingFault

from .figures import GAIN, INCREASE, METRICS, Figure

_LONG = ("row", "metric", "printed")
_NOTHING = ("", "-", "--", "–", "—", "n/a")
_HELP = "segbench audit --help"


def read_printed(path: Path) -> list[Figure]:
    """Read a table.

    A file with the columns ``row``, ``metric`` and ``printed`` has a value a line; ``dataset``, ``split``, ``class``,
    ``read_as`` and ``baseline`` may stand beside them, as in ``segbench report --format csv``. Any other file has a row
    of the table a line: its name first, then a column a metric (``mIoU``, ``Dice``) or a class.

    Raises:
        MissingFault: there is no such file.
        InvalidFault: it is empty, or a value is no number; a line each.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = list(csv.reader(file))
    except FileNotFoundError:
        raise MissingFault(f"{path}: there is no such file.", next=_HELP) from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidFault(f"{path} is no CSV file in UTF-8: {error}.", next=_HELP) from error
    if len(lines) < 2:
        raise InvalidFault(f"{path} holds no row below its header.", next=_HELP)
    header = [name.strip() for name in lines[0]]
    body = [(number, line) for number, line in enumerate(lines[1:], 2) if any(cell.strip() for cell in line)]
    faults: list[str] = []
    if set(_LONG) <= set(header):
        found = [
            value for number, line in body for value in _long(dict(zip(header, line, strict=False)), number, faults)
        ]
    else:
        found = [value for number, line in body for value in _wide(header, line, number, faults)]
    if not faults and not found:
        faults = ["no value below the header"]
    if faults:
        raise InvalidFault(*(f"{path}: {fault}" for fault in faults), next=_HELP)
    return found


def _long(cells: Mapping[str, str], number: int, faults: list[str]) -> list[Figure]:
    printed = cells["printed"].strip()
    if printed in _NOTHING or not _is_number(printed, f"line {number}", faults):
        return []
    metric = cells["metric"].strip()
    if metric.removesuffix(GAIN).removesuffix(INCREASE) not in METRICS:
        faults.append(f"line {number}: unknown metric {metric!r}; known: {', '.join(METRICS)}, each with {GAIN}.")
        return []
    name, read_as, over = (cells.get(key, "").strip() or None for key in ("class", "read_as", "baseline"))
    dataset, split = (cells.get(key, "").strip() for key in ("dataset", "split"))
    return [Figure("", cells["row"].strip(), dataset, split, metric, printed, name, read_as, over)]


def _wide(header: Sequence[str], line: Sequence[str], number: int, faults: list[str]) -> list[Figure]:
    row, found = line[0].strip(), []
    for name, cell in zip(header[1:], line[1:], strict=False):
        printed = cell.strip().removesuffix("%").strip()
        if not name.strip() or printed in _NOTHING or not _is_number(printed, f"line {number}, column {name}", faults):
            continue
        metric = name.casefold().replace(" ", "").replace("(%)", "")
        metric = {"mean": "miou", "meaniou": "miou", "mdice": "dice"}.get(metric, metric)
        if metric in ("miou", "dice"):
            found.append(Figure("", row, "", "", metric, printed))
        else:
            found.append(Figure("", row, "", "", "iou", printed, name))
    return found


def _is_number(text: str, place: str, faults: list[str]) -> bool:
    try:
        finite = Decimal(text).is_finite()
    except InvalidOperation:
        finite = False
    if not finite:
        faults.append(f"{place}: {text!r} is not a number.")
    return finite
