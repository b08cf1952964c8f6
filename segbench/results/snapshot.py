"""Everything a store holds at one moment, read once and indexed for comparison."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from segbench.core.spec import digest

from .record import Attempt, Record
from .store import Store


class Snapshot:
    """Records and attempts of a store, each file read once.

    Args:
        store: the store to read; what is written to it later is not seen.

    Raises:
        InvalidFault: a file of the store is not a valid record or attempt.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._attempts: dict[str, list[Attempt]] = defaultdict(list)
        for attempt in store.attempts():
            self._attempts[attempt.table].append(attempt)
        self._records: dict[tuple[str, str, str], list[Record]] = defaultdict(list)
        self._files: dict[str, list[Record]] = defaultdict(list)
        self._scored_as: dict[tuple[str, str, str], list[Record]] = defaultdict(list)
        budgets = set()
        for record in store.records():
            budgets.add(record.budget)
            if record.kind == "checkpoint":
                self._files[record.family].append(record)
                for row in record.provenance.get("stands_for", ()):
                    self._scored_as[row["table"], row["row"], row["dataset"]].append(record)
            else:
                evaluation = digest(record.evaluation_spec) if record.kind == "training" else ""
                self._records[record.kind, record.family, evaluation].append(record)
        self._budgets = frozenset(budgets)
        for group in self._records.values():
            group.sort(key=lambda record: (record.seed, record.id))

    @property
    def budgets(self) -> frozenset[str]:
        """Budgets of the records."""
        return self._budgets

    def attempts(self, table: str) -> Sequence[Attempt]:
        """Return the attempts at rows of a table, in the order of their files."""
        return self._attempts.get(table, ())

    def trained(self, family: str, evaluation: str) -> Sequence[Record]:
        """Return the records of a training, one per seed.

        Args:
            family: id of the training without its seed.
            evaluation: digest of the evaluation's canonical form.
        """
        return self._records.get(("training", family, evaluation), ())

    def trainings(self) -> Iterator[Sequence[Record]]:
        """Yield the records of every training under every evaluation, in groups that differ by seed alone."""
        return (group for (kind, _, _), group in self._records.items() if kind == "training")

    def counted(self, family: str) -> Sequence[Record]:
        """Return the records of a cost, see ``segbench.recipe.cost.cost_family``."""
        return self._records.get(("cost", family, ""), ())

    def of_file(self, sha256: str) -> Sequence[Record]:
        """Return the records of a checkpoint, under every protocol and convention."""
        return self._files.get(sha256, ())

    def scored_as(self, table: str, row: str, dataset: str) -> Sequence[Record]:
        """Return the records of checkpoints that were scored as a row."""
        return self._scored_as.get((table, row, dataset), ())

    def failure(self, training: str) -> str | None:
        """Return why a training failed last; None unless it did."""
        return self._store.failure(training)
