"""Recognition of a checkpoint's data set and class table."""

from segbench.checkpoints.class_names import is_reordered, likely_dataset, same_order, table_of, tables_by_dataset
from segbench.checkpoints.conventions import describe_input
from segbench.checkpoints.loaded_model import LoadedModel
from segbench.checkpoints.published import PublishedCheckpoint
from segbench.core import registry
from segbench.core.errors import InvalidFault, UsageFault
from segbench.core.spec import DataSpec
from segbench.data.classes import class_table
from segbench.data.facts import facts

from .request import HELP, EvalRequest


def choose_data(request: EvalRequest, model: LoadedModel, published: PublishedCheckpoint | None) -> DataSpec:
    """Return the data that the network is scored on.

    Raises:
        UsageFault: there is no such data set or class table, or none is likely.
        InvalidFault: its classes are not the network's.
    """
    header = model.header
    default = header.dataset if header is not None else _likely(request, model, published)
    name = request.dataset or default
    table = _table(request, name, model, published)
    generated = header is not None and header.data_source == "generated"
    scale = request.scale if request.scale is not None else header.data_scale if header is not None else 1.0
    return DataSpec(
        name=name,
        classes=table if table != facts(name).table else None,
        splits=(request.split or default_split(name),),
        scale=scale,
        source="generated" if generated else "folder",
        images=header.data_images if header is not None and generated else None,
    )


def default_split(name: str) -> str:
    """Return ``val``, or ``test`` for a data set without val."""
    return "val" if "val" in facts(name).splits else "test"


def require_dataset(name: str) -> None:
    """Raise unless the data set exists.

    Raises:
        UsageFault: there is none of that name.
    """
    known = registry.names("dataset")
    if name not in known:
        raise UsageFault(f"No data set {name!r}. {registry.choices(name, known)}.", next="segbench data list")


def names_note(model: LoadedModel, data: DataSpec) -> str:
    """Return a sentence if the file names its classes otherwise than the data set; else an empty string."""
    table = class_table(data.classes or facts(data.name).table)
    if model.header is not None or not model.classes or same_order(model.classes, table.names):
        return ""
    return (
        f"The file names its classes {_some(model.classes)}; they are scored as {_some(table.names)}, place by place."
    )


def sentence(model: LoadedModel) -> str:
    """Return a line on what the file was recognised as."""
    matched, wanted = model.matched
    backbone = model.network.partition(" (")[0]
    said = backbone.removeprefix("D-").removesuffix("-small") in model.title
    parts = [model.title, *([] if said else [backbone]), f"{model.num_classes} classes"]
    parts += [f"align_corners={model.align_corners}", describe_input(model.input)]
    dropped = model.report.dropped if model.report is not None else ()
    left = f" Left out: {_groups(dropped)}." if dropped else ""
    return f"Recognised: {', '.join(parts)}. {matched:,} of {wanted:,} tensors matched.{left}"


def num_outputs(request: EvalRequest) -> int:
    """Return the number of outputs for the user's own network.

    Raises:
        UsageFault: neither classes nor data set are named.
    """
    if request.classes is not None:
        return class_table(request.classes).num_classes
    if request.dataset is None:
        raise UsageFault("The classes of a network of your own are not known: --dataset is required.", next=HELP)
    require_dataset(request.dataset)
    return class_table(facts(request.dataset).table).num_classes


def _likely(request: EvalRequest, model: LoadedModel, published: PublishedCheckpoint | None) -> str:
    """Return the data set of the named class table, the published figure, the class names or their number.

    Raises:
        UsageFault: no data set is known for these classes.
    """
    if request.dataset is not None:
        return request.dataset
    number = model.num_classes
    table = request.classes or (published.classes if published is not None else None)
    if table is None and model.classes:
        table = table_of(model.classes)
        if not table:
            raise UsageFault(
                f"{request.checkpoint} names its {number} classes {_some(model.classes)}, which belong to no data set "
                "that segbench reads: --dataset is required.",
                next="segbench data list",
            )
    if table is not None and (homes := _homes(table)):
        return homes[0]
    if likely := likely_dataset(number):
        return likely
    raise UsageFault(
        f"{request.checkpoint} predicts {number} classes; no data set is known for these: --dataset is required.",
        next="segbench data list",
    )


def _homes(table: str) -> list[str]:
    """Return the data sets with labels of a class table; none if there is no such table."""
    try:
        name = class_table(table).name
    except InvalidFault:
        return []
    return [each for each, tables in tables_by_dataset().items() if any(table.name == name for table in tables)]


def _table(request: EvalRequest, name: str, model: LoadedModel, published: PublishedCheckpoint | None) -> str:
    """Return the class table of the data set that the network was trained with.

    Raises:
        UsageFault: there is no such data set or class table.
        InvalidFault: none is the network's.
    """
    require_dataset(name)
    tables = [facts(name).table, *facts(name).variants]
    if request.classes is not None:
        named = class_table(request.classes).name
        if named not in tables:
            raise UsageFault(f"{name} has no class table {request.classes!r}; it has {', '.join(tables)}.", next=HELP)
        tables = [named]
    fitting = [table for table in tables if class_table(table).num_classes == model.num_classes]
    if not fitting:
        count = class_table(tables[0]).num_classes
        raise InvalidFault(
            f"The checkpoint predicts {model.num_classes} classes, {name} has {count}: its scores would mean nothing.",
            next=_instead(request, model, published),
        )
    names = model.classes
    if model.header is None and names:
        # Other projects spell names otherwise, or make them up; only a definitely wrong order is refused.
        alike = [table for table in fitting if same_order(names, class_table(table).names)]
        same = alike or [table for table in fitting if not is_reordered(names, class_table(table).names)]
    else:
        same = [table for table in fitting if names in ((), class_table(table).names)]
    if not same:
        raise InvalidFault(
            f"The checkpoint's classes are not those of {name}, or in another order.",
            next=_instead(request, model, published),
        )
    return same[0]


def _instead(request: EvalRequest, model: LoadedModel, published: PublishedCheckpoint | None) -> str:
    """Return the command that would work."""
    home = ""
    if model.header is None and (table := table_of(model.classes) if model.classes else ""):
        home = next(iter(_homes(table)), "")
    elif model.header is not None:
        for name, tables in tables_by_dataset().items():
            if any(table.names == model.classes for table in tables):
                home = home or name
        home = home or model.header.dataset
    elif published is not None and (homes := _homes(published.classes)):
        home = homes[0]
    home = home or likely_dataset(model.num_classes)
    return f"segbench eval --checkpoint {request.checkpoint} --dataset {home}" if home else "segbench data list"


def _some(names: tuple[str, ...]) -> str:
    """Return the first three names, with dots if there are more."""
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _groups(names: tuple[str, ...]) -> str:
    """Return tensors by their first name: ``proj_head (6), memory (2)``."""
    counts: dict[str, int] = {}
    for name in names:
        counts[name.partition(".")[0]] = counts.get(name.partition(".")[0], 0) + 1
    shown = [f"{group} ({count})" for group, count in counts.items()]
    return ", ".join(shown if len(shown) <= 4 else [*shown[:3], f"{len(shown) - 3} groups more"])
