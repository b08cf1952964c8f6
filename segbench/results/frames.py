"""Everything as pandas data frames."""

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
    """Every printed figure of every table; ``value`` is the number read, ``printed`` the string as printed."""
    return pd.DataFrame([figure.as_json() for table in catalog.tables.values() for figure in table.figures()])


def report_frame(report: TableReport) -> pd.DataFrame:
    """One line a printed figure with its verdict and everything behind it."""
    return pd.DataFrame([entry_fields(entry) for entry in report.entries], columns=list(ENTRY_FIELDS))


def per_class_frame(report: TableReport) -> pd.DataFrame:
    """IoU of every class of every row that printed or measured any, in percent; measured is the mean over seeds."""
    return pd.DataFrame(list(class_rows(report)), columns=list(_CLASSES))


def records_frame(store: Store) -> pd.DataFrame:
    """One line a record; figures and timings in columns of their own (``seconds_`` before a timing's name)."""
    rows: list[dict[str, Any]] = []
    for record in store.records():
        own = {name: getattr(record, name) for name in _RECORDS[:-2]}
        machine = {name: record.provenance.get(name) for name in _RECORDS[-2:]}
        timings = {f"seconds_{name}": value for name, value in record.timings.items()}
        rows.append({**own, **machine, **record.figures, **timings})
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=list(_RECORDS))
