"""Released weights beside the printed figures: do the authors' own weights give them?

No seeds are involved. A score agrees if it rounds to the printed digits, up to a numerical tolerance: devices and
versions of libraries decide a few pixels otherwise.
"""

from collections.abc import Mapping
from typing import Any

from segbench.core.spec import digest
from segbench.recipe.catalog import Catalog, Table
from segbench.recipe.figures import Figure
from segbench.recipe.released import ReleasedWeights

from .record import Record
from .snapshot import Snapshot
from .variants import TableVariants, value_of
from .verdicts import Rescored, RescoredWord

TOLERANCE = 0.02  # points of a share in percent; as much of a feature statistic


def rescored(
    figure: Figure, catalog: Catalog, table: Table, variants: TableVariants, snapshot: Snapshot
) -> tuple[Rescored, ...]:
    """Return an answer for every file that was scored as the row of a figure; none for a figure of another kind.

    A file that was scored as a row more than once counts under the row's own protocol; if that was not run, under the
    first that was.
    """
    if figure.kind not in ("trained", "feature") or figure.is_relative or not figure.headline:
        return ()
    files: dict[str, list[Record]] = {}
    for record in snapshot.scored_as(table.name, figure.row, figure.dataset):
        if value_of(record, figure) is not None:
            files.setdefault(record.family, []).append(record)
    published = variants.rows[figure.row, figure.dataset].training[0].resolved.published.evaluation
    own = digest(published.canonical()) if published is not None else ""
    found = []
    for records in files.values():
        first = min(records, key=lambda record: (digest(record.evaluation_spec) != own, len(_material(record))))
        released = catalog.released_for(table.name, figure.row, figure.dataset)
        title = table.row(figure.row).title or figure.row
        is_own = digest(first.evaluation_spec) == own
        found.append(_answer(figure, title, first, released, snapshot, is_own=is_own))
    return tuple(found)


def _answer(
    figure: Figure, title: str, record: Record, released: ReleasedWeights | None, snapshot: Snapshot, *, is_own: bool
) -> Rescored:
    name = _name(record)
    known = released if released is not None and released.checkpoint == name else None
    value = value_of(record, figure)
    assert value is not None
    notes = [] if is_own else ["not by the row's own protocol"]
    notes += _material(record)
    faithful = is_own and not notes
    word: RescoredWord
    if faithful and _agrees(value, figure):
        word = "agrees"
    elif (other := _otherwise(figure, record, snapshot)) is not None:
        word = "agrees otherwise"
        notes.append(f"{value_of(other, figure):.2f} with {_apart(record, other)}")
    else:
        word = "does not agree"
    notes += [known.differs] if known is not None and known.differs else []
    by = known.by if known is not None else "a file"
    return Rescored(figure, title, name, by, record.id, value, value - figure.value, word, "; ".join(notes))


def _material(record: Record) -> list[str]:
    """Return the material deviations of a record in words."""
    return [str(each["says"]) for each in record.deviations if each.get("material")]


def _agrees(value: float, figure: Figure) -> bool:
    return abs(value - figure.value) <= figure.half_digit + TOLERANCE


def _otherwise(figure: Figure, record: Record, snapshot: Snapshot) -> Record | None:
    """Return an evaluation of the same file on the same images that agrees with the print; the closest one."""
    found = [
        (abs(value - figure.value), other.id, other)
        for other in snapshot.of_file(record.family)
        if (other.dataset, other.split) == (record.dataset, record.split)
        and (value := value_of(other, figure)) is not None
        and _agrees(value, figure)
    ]
    return min(found)[2] if found else None


def _apart(record: Record, other: Record) -> str:
    """Describe the conventions of another evaluation by those that differ."""
    ours, theirs = _conventions(record), _conventions(other)
    names = [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]
    words = [f"{name} {_plain(theirs.get(name))} for {_plain(ours.get(name))}" for name in names]
    return ", ".join(words) or "the same protocol, whose deviations are named here"


def _conventions(record: Record) -> dict[str, Any]:
    force = record.training_spec.get("in_force", {})
    found: dict[str, Any] = {}
    for tree in (record.evaluation_spec, force.get("input", {}), {"align_corners": force.get("align_corners")}):
        if isinstance(tree, Mapping):
            found |= {name: value for name, value in tree.items() if name != "data"}
    return found


def _plain(value: Any) -> str:
    if value is None:
        return "default"
    return "/".join(f"{each:g}" for each in value) if isinstance(value, list) else str(value)


def _name(record: Record) -> str:
    """Return the registered name of a checkpoint, else that of its file."""
    published = record.provenance.get("published")
    if isinstance(published, Mapping) and published.get("name"):
        return str(published["name"])
    return str(record.provenance.get("file", "a file"))
