"""Whose checkpoint it is, and which data set its classes are those of."""

from typing import TYPE_CHECKING

from segbench.core.errors import InvalidFault, UsageFault

from .asked import HELP, Asked

if TYPE_CHECKING:
    from segbench.checkpoints.find import CheckpointFile
    from segbench.checkpoints.loaded_model import LoadedModel
    from segbench.checkpoints.published import PublishedCheckpoint
    from segbench.core.spec import DataSpec

_OF_OTHERS = {"--family": "family", "--ema": "averaged", "--allow-partial": "allow_partial"}


def open_subject(source: "CheckpointFile", asked: Asked) -> "LoadedModel":
    """The network of a file, with what the user says against its conventions.

    Raises:
        UsageFault, MissingFault, InvalidFault: as of ``segbench.checkpoints.loaded_model``.
    """
    from segbench.checkpoints.loaded_model import adjusted, open_other, open_own_network, open_weights
    from segbench.checkpoints.read import FileKind, identify

    path = source.path
    if asked.model is not None:
        subject = open_own_network(path, asked.model, _outputs(asked), averaged=asked.averaged)
    elif identify(path) is FileKind.WEIGHTS:
        given = [flag for flag, value in _OF_OTHERS.items() if getattr(asked, value)]
        if given:
            fault = f"{path.name} is of segbench itself and cannot be combined with {' and '.join(given)}."
            raise UsageFault(fault, next=HELP)
        subject = open_weights(path)
    else:
        subject = open_other(path, family=asked.family, averaged=asked.averaged, allow_partial=asked.allow_partial)
    return subject if asked.convention is None else adjusted(subject, asked.convention)


def choose_data(asked: Asked, subject: "LoadedModel", published: "PublishedCheckpoint | None") -> "DataSpec":
    """What the network is scored on.

    Raises:
        UsageFault: there is no such data set or class table, or none is likely.
        InvalidFault: its classes are not the network's.
    """
    from segbench.core.spec import DataSpec
    from segbench.data.facts import facts

    header = subject.header
    default = header.dataset if header is not None else _likely(asked, subject, published)
    name = asked.dataset or default
    table = _table(asked, name, subject, published)
    generated = header is not None and header.data_source == "generated"
    scale = asked.scale if asked.scale is not None else header.data_scale if header is not None else 1.0
    return DataSpec(
        name=name,
        classes=table if table != facts(name).table else None,
        splits=(asked.split or default_split(name),),
        scale=scale,
        source="generated" if generated else "folder",
        images=header.data_images if header is not None and generated else None,
    )


def default_split(name: str) -> str:
    """``val``, or ``test`` of a data set that has no val."""
    from segbench.data.facts import facts

    return "val" if "val" in facts(name).splits else "test"


def require_dataset(name: str) -> None:
    """Refuse a data set that does not exist.

    Raises:
        UsageFault: there is none of that name.
    """
    from segbench.core import registry

    known = registry.names("dataset")
    if name not in known:
        raise UsageFault(f"No data set {name!r}. {registry.choices(name, known)}.", next="segbench data list")


def names_note(subject: "LoadedModel", data: "DataSpec") -> str:
    """What to know where the names in the file are others than those of the data set; empty if they are the same."""
    from segbench.checkpoints.class_names import same_order
    from segbench.data.classes import class_table
    from segbench.data.facts import facts

    table = class_table(data.classes or facts(data.name).table)
    if subject.header is not None or not subject.classes or same_order(subject.classes, table.names):
        return ""
    return (
        f"The file names its classes {_some(subject.classes)}; they are scored as {_some(table.names)}, place by place."
    )


def sentence(subject: "LoadedModel") -> str:
    """What the file was recognised as, in a line."""
    from segbench.checkpoints.conventions import describe_input

    matched, wanted = subject.matched
    backbone = subject.network.partition(" (")[0]
    said = backbone.removeprefix("D-").removesuffix("-small") in subject.title
    parts = [subject.title, *([] if said else [backbone]), f"{subject.num_classes} classes"]
    parts += [f"align_corners={subject.align_corners}", describe_input(subject.input)]
    dropped = subject.report.dropped if subject.report is not None else ()
    left = f" Left out: {_groups(dropped)}." if dropped else ""
    return f"Recognised: {', '.join(parts)}. {matched:,} of {wanted:,} tensors matched.{left}"


def _outputs(asked: Asked) -> int:
    """How many classes the user's own network shall have."""
    from segbench.data.classes import class_table
    from segbench.data.facts import facts

    if asked.classes is not None:
        return class_table(asked.classes).num_classes
    if asked.dataset is None:
        raise UsageFault("A network of your own does not say of which classes: --dataset is wanted.", next=HELP)
    require_dataset(asked.dataset)
    return class_table(facts(asked.dataset).table).num_classes


def _likely(asked: Asked, subject: "LoadedModel", published: "PublishedCheckpoint | None") -> str:
    """The data set of a class table that is named, of a published figure, of names of classes, or of a number of them.

    Raises:
        UsageFault: no data set is known for these classes.
    """
    from segbench.checkpoints.class_names import likely_dataset, table_of

    if asked.dataset is not None:
        return asked.dataset
    number = subject.num_classes
    table = asked.classes or (published.classes if published is not None else None)
    if table is None and subject.classes:
        table = table_of(subject.classes)
        if not table:
            raise UsageFault(
                f"{asked.checkpoint} names its {number} classes {_some(subject.classes)}, which are of no data set "
                "that segbench reads: --dataset is wanted.",
                next="segbench data list",
            )
    if table is not None and (homes := _homes(table)):
        return homes[0]
    if likely := likely_dataset(number):
        return likely
    raise UsageFault(
        f"{asked.checkpoint} predicts {number} classes; no data set is known for these: --dataset is wanted.",
        next="segbench data list",
    )


def _homes(table: str) -> list[str]:
    """Data sets whose labels a class table is of; none where there is no such table."""
    from segbench.core import registry
    from segbench.data.classes import class_table
    from segbench.data.facts import facts

    try:
        name = class_table(table).name
    except InvalidFault:
        return []
    return [each for each in registry.names("dataset") if name in (facts(each).table, *facts(each).variants)]


def _table(asked: Asked, name: str, subject: "LoadedModel", published: "PublishedCheckpoint | None") -> str:
    """The data set's class table that is the network's."""
    from segbench.checkpoints.class_names import is_reordered, same_order
    from segbench.data.classes import class_table
    from segbench.data.facts import facts

    require_dataset(name)
    tables = [facts(name).table, *facts(name).variants]
    if asked.classes is not None:
        named = class_table(asked.classes).name
        if named not in tables:
            raise UsageFault(f"{name} has no class table {asked.classes!r}; it has {', '.join(tables)}.", next=HELP)
        tables = [named]
    fitting = [table for table in tables if class_table(table).num_classes == subject.num_classes]
    if not fitting:
        count = class_table(tables[0]).num_classes
        raise InvalidFault(
            f"The checkpoint predicts {subject.num_classes} classes, {name} has {count}: "
            "its scores would mean nothing.",
            next=_instead(asked, subject, published),
        )
    names = subject.classes
    if subject.header is None and names:
        # names of other projects are spelled otherwise, or made up; only an order that is wrong for sure is refused
        alike = [table for table in fitting if same_order(names, class_table(table).names)]
        same = alike or [table for table in fitting if not is_reordered(names, class_table(table).names)]
    else:
        same = [table for table in fitting if names in ((), class_table(table).names)]
    if not same:
        raise InvalidFault(
            f"The checkpoint's classes are not those of {name}, or in another order.",
            next=_instead(asked, subject, published),
        )
    return same[0]


def _instead(asked: Asked, subject: "LoadedModel", published: "PublishedCheckpoint | None") -> str:
    """The command that would work."""
    from segbench.checkpoints.class_names import likely_dataset, table_of
    from segbench.core import registry
    from segbench.data.classes import class_table
    from segbench.data.facts import facts

    home = ""
    if subject.header is None and (table := table_of(subject.classes) if subject.classes else ""):
        home = next(iter(_homes(table)), "")
    elif subject.header is not None:
        for name in registry.names("dataset"):
            tables = (facts(name).table, *facts(name).variants)
            if any(class_table(table).names == subject.classes for table in tables):
                home = home or name
        home = home or subject.header.dataset
    elif published is not None and (homes := _homes(published.classes)):
        home = homes[0]
    home = home or likely_dataset(subject.num_classes)
    return f"segbench eval --checkpoint {asked.checkpoint} --dataset {home}" if home else "segbench data list"


def _some(names: tuple[str, ...]) -> str:
    """The first three, and that there are more."""
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _groups(names: tuple[str, ...]) -> str:
    """``proj_head (6), memory (2)``."""
    counts: dict[str, int] = {}
    for name in names:
        counts[name.partition(".")[0]] = counts.get(name.partition(".")[0], 0) + 1
    shown = [f"{group} ({count})" for group, count in counts.items()]
    return ", ".join(shown if len(shown) <= 4 else [*shown[:3], f"{len(shown) - 3} groups more"])
