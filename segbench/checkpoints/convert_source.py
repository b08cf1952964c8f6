"""The checkpoint that is converted: its network, and whose classes it predicts."""

from dataclasses import dataclass
from pathlib import Path

from segbench.core.errors import InvalidFault, MissingFault, UsageFault
from segbench.core.registry import choices
from segbench.data.classes import class_table, table_names
from segbench.models.segmentor import Segmentor

from .class_names import table_of
from .foreign.family import Foreign
from .foreign.open import open_foreign
from .native import WeightsHeader, build_from_weights, is_weights
from .published import PublishedCheckpoint

SEGBENCH = "segbench"


@dataclass(frozen=True)
class Source:
    """The checkpoint that is converted.

    Attributes:
        segmentor: its network.
        header: what segbench says of it.
        family: whose it is, ``segbench`` for its own.
        title: the network in its project's words.
        dropped: tensors left out on purpose.
        notes: what a user should know.
    """

    segmentor: Segmentor
    header: WeightsHeader
    family: str
    title: str
    dropped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def open_source(
    path: Path, *, dataset: str | None = None, family: str | None = None, published: PublishedCheckpoint | None = None
) -> Source:
    """Open a checkpoint of segbench or of a family, strictly; arguments and faults are those of ``convert.convert``."""
    if not path.is_file():
        raise MissingFault(f"There is no file {path}.", next="segbench weights list")
    if family is None and is_weights(path):
        segmentor, header = build_from_weights(path)
        return Source(segmentor, header, SEGBENCH, f"network of {header.dataset}")
    opened = open_foreign(path, family=family)
    foreign = opened.foreign
    name = dataset or (published.classes if published else None) or _named_table(foreign, path)
    if name not in table_names():
        raise UsageFault(f"No data set {name!r}. {choices(name, table_names())}.", next="segbench data list")
    classes = class_table(name).names
    if len(classes) != foreign.num_classes:
        raise InvalidFault(
            f"{path.name} predicts {foreign.num_classes} classes, {name} has {len(classes)}.",
            next="the same command with --dataset NAME",
        )
    header = WeightsHeader(foreign.model, classes, name)
    return Source(opened.segmentor, header, foreign.family, foreign.title, foreign.dropped, foreign.notes)


def _named_table(foreign: Foreign, path: Path) -> str:
    """The class table of the names that the file gives, or else the only one of as many classes.

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
        "reads; whose names the new file shall have must be said.",
        next="the same command with --dataset NAME",
    )


def _only_table(count: int, path: Path) -> str:
    found = [name for name in table_names() if class_table(name).num_classes == count]
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageFault(
            f"{path.name} predicts {count} classes, of no data set that segbench knows: what the new file should call "
            "them cannot be told.",
            next="segbench data list",
        )
    raise UsageFault(
        f"{path.name} predicts {count} classes, those of {' or '.join(found)}; which they are must be said.",
        next=f"the same command with --dataset {found[0]}",
    )
