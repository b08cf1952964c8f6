"""Figures, verdicts and records as pandas data frames."""

from typing import Any

import pandas as pd

from segbench.recipe.catalog import Catalog

from .flat import ENTRY_FIELDS, class_rows, entry_fields
from .store import Store
from .verdicts import TableReport

_CLASSES = ("table", "row", "title", "dataset", "class", "printed", "published", "measured", "difference")
_RECORDS = (
    "id", "kind", "training", "family", "seed", "budget", "dataset", "split", "images", "device", "precision"
)  # fmt: skip


def figures_frame(catalog: Catalog) -> pd.DataFrame:
    """Return every printed figure of every table; ``value`` is the number read, ``printed`` the string as printed."""
    return pd.DataFrame([figure.as_json() for table in catalog.tables.values() for figure in table.figures()])


def report_frame(*reports: TableReport) -> pd.DataFrame:
    """Return a line per printed figure with its verdict and everything behind it; columns: ``ENTRY_FIELDS``."""
    rows = [entry_fields(entry) for report in reports for entry in report.entries]
    return pd.DataFrame(rows, columns=list(ENTRY_FIELDS))


def per_class_frame(*reports: TableReport) -> pd.DataFrame:
    """Return the IoU of every class of every row that printed or measured it, in percent; measured: mean over seeds."""
    rows = [row for report in reports for row in class_rows(report)]
    return pd.DataFrame(rows, columns=list(_CLASSES))


def records_frame(store: Store) -> pd.DataFrame:
    """Return a line per record; figures and timings have columns of their own (``seconds_`` before a timing's name)."""
    rows: list[dict[str, Any]] = []
    for record in store.records():
        own = {name: getattr(record, name) for name in _RECORDS[:-2]}
        machine = {name: record.provenance.get(name) for name in _RECORDS[-2:]}
        timings = {f"seconds_{name}": value for name, value in record.timings.items()}
        rows.append({**own, **machine, **record.figures, **timings})
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=list(_RECORDS))
