"""Open a checkpoint for conversion: its network, and the names of its classes."""

from dataclasses import dataclass
from pathlib import Path

from segbench.core.errors import InvalidFault, UsageFault
from segbench.core.registry import choices
from segbench.data.classes import class_table, table_names
from segbench.models.segmentor import Segmentor

from .class_names import table_of
from .family import ForeignCheckpoint
from .open import open_foreign
from .published import PublishedCheckpoint
from .read import FileKind, identify
from .weights_file import WeightsHeader, build_from_weights

SEGBENCH = "segbench"


@dataclass(frozen=True)
class Convertible:
    """A checkpoint to convert.

    Attributes:
        segmentor: its network.
        header: of a weights file of segbench with this network.
        family: name of its family, ``segbench`` for segbench's own.
        title: the network in its project's words.
        dropped: tensors left out on purpose.
        notes: what a user should know, one sentence each.
    """

    segmentor: Segmentor
    header: WeightsHeader
    family: str
    title: str
    dropped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def open_convertible(
    path: Path, *, dataset: str | None = None, family: str | None = None, published: PublishedCheckpoint | None = None
) -> Convertible:
    """Open a checkpoint of segbench or of a family, strictly; arguments and faults are those of ``convert.convert``."""
    if identify(path) is FileKind.WEIGHTS and family is None:
        segmentor, header = build_from_weights(path)
        return Convertible(segmentor, header, SEGBENCH, f"network of {header.dataset}")
    opened = open_foreign(path, family=family)
    foreign = opened.foreign
    name = dataset or (published.classes if published else None) or _table(foreign, path)
    if name not in table_names():
        raise UsageFault(f"No data set {name!r}. {choices(name, table_names())}.", next="segbench data list")
    classes = class_table(name).names
    if len(classes) != foreign.num_classes:
        raise InvalidFault(
            f"{path.name} predicts {foreign.num_classes} classes, {name} has {len(classes)}.",
            next="the same command with --dataset NAME",
        )
    header = WeightsHeader(foreign.model, classes, name)
    return Convertible(opened.segmentor, header, foreign.family, foreign.title, foreign.dropped, foreign.notes)


def _table(foreign: ForeignCheckpoint, path: Path) -> str:
    """Return the class table of the names that the file states, or else the only one with as many classes.

    Raises:
        UsageFault: there is no such table, or several of them.
    """
    if not foreign.classes:
        return _only_table(foreign.num_classes, path)
    if table := table_of(foreign.classes):
        return table
    first = ", ".join(foreign.classes[:3])
    raise UsageFault(
        f"{path.name} names its {foreign.num_classes} classes {first}, ..., which are of no data set that segbench "
        "reads; name the data set whose class names the new file is to have.",
        next="the same command with --dataset NAME",
    )


def _only_table(count: int, path: Path) -> str:
    found = [name for name in table_names() if class_table(name).num_classes == count]
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageFault(
            f"{path.name} predicts {count} classes, of no data set that segbench knows: there are no names for them.",
            next="segbench data list",
        )
    raise UsageFault(
        f"{path.name} predicts {count} classes, those of {' or '.join(found)}; name the data set.",
        next=f"the same command with --dataset {found[0]}",
    )
