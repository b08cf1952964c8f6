"""The report of all tables over a large store, and over one with the records of two tables; seconds beyond imports.

    python benchmarks/report.py [--records 10000]

The records are those of the smallest budget of every row with invented scores, five seeds each, and further ones of
other trainings up to the number asked for.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from segbench.core.errors import SegbenchError
from segbench.core.spec import digest
from segbench.recipe.catalog import Catalog, load_catalog, recipes_root
from segbench.recipe.resolve import Request, resolve_all
from segbench.results.record import Attempt, Record
from segbench.results.report import load_report
from segbench.results.store import Store


def fill(catalog: Catalog, store: Store, tables: list[str], *, records: int = 0) -> int:
    """Write records of all rows of some tables, and others up to a number; return how many."""
    random, written = np.random.default_rng(0), 0
    last: Record | None = None
    for table in tables:
        try:
            rows = resolve_all(catalog, table, Request("smoke"))
        except SegbenchError:
            continue
        for made in rows:
            ran = made.ran
            if ran.training is None or ran.evaluation is None or ran.cost is not None:
                continue
            for seed in range(5):
                training = ran.training.model_copy(update={"seed": seed})
                last = Record(
                    id=digest([training.id(), ran.evaluation.id()]), kind="training", training=training.id(),
                    family=training.family(), seed=seed, budget="smoke", dataset=made.runs_on,
                    split=ran.evaluation.data.splits[0], training_spec=training.canonical(),
                    evaluation_spec=ran.evaluation.canonical(),
                    figures={"miou": float(random.normal(60, 1)), "dice": 70.0, "pixel_accuracy": 90.0},
                    per_class={f"class {number}": float(random.uniform(0, 100)) for number in range(19)},
                )  # fmt: skip
                store.write(last)
                given = {"table": table, "row": made.row, "dataset": made.dataset, "budget": "smoke", "seed": seed}
                store.note_attempt(Attempt(training=training.id(), evaluation=last.id, **given))
                written += 1
    assert last is not None
    while written < records:
        store.write(
            last.model_copy(update={"id": f"other{written}", "family": f"f{written // 5}", "seed": written % 5})
        )
        written += 1
    return written


def seconds(catalog: Catalog, store: Store) -> float:
    """Return the seconds of one report of all tables, rendered."""
    start = time.perf_counter()
    load_report(store=store, catalog=catalog).render("markdown")
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=10_000)
    wanted = parser.parse_args().records
    for tables, records, target in ((["contrastiveseg-table2", "contextrast-table6"], 0, 0.5), (None, wanted, 3.0)):
        catalog = load_catalog(recipes_root())
        store = Store(Path(tempfile.mkdtemp()))
        written = fill(catalog, store, tables or list(catalog.tables), records=records)
        catalog = load_catalog(recipes_root())  # nothing resolved yet
        took = seconds(catalog, store)
        print(f"{written:,} records, {len(tables or catalog.tables)} tables: {took:.2f} s (target: {target} s)")


if __name__ == "__main__":
    main()
