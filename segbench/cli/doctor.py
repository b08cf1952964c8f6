"""``segbench doctor``: this machine on one page, and the rows that fit its memory."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segbench.core.errors import MissingFault

from . import common

if TYPE_CHECKING:
    from rich.table import Table as View

    from segbench.capacity.fits import Fallback, Requirement
    from segbench.capacity.machine import Device, Problem
    from segbench.engine.runtime import Precision
    from segbench.recipe.catalog import Catalog


def command(
    table: Annotated[str | None, typer.Argument(metavar="[TABLE]", help="Only this table's rows.")] = None,
    memory: Annotated[
        float | None, typer.Option("--memory", metavar="GB", min=1, help="Of a GPU that is not here.")
    ] = None,
    recipe: common.Recipe = None,
    data_root: common.DataRoot = None,
    out: common.Out = None,
    json: common.Json = False,
) -> None:
    """Versions, devices, disks, data, weights; problems and how to fix them; which rows fit the memory.

    \b
    Examples:
      segbench doctor
      segbench doctor contextrast-table6 --memory 12
    """
    catalog = common.open_catalog(recipe)
    tables = [catalog.table(table).name] if table else list(catalog.tables)
    store = common.open_store(out)

    from segbench.capacity import machine

    devices, places = machine.cuda_devices(), machine.writable_places(store, data_root)
    problems = machine.problems(store, devices, places)
    facts = {
        "versions": machine.versions(),
        "devices": [asdict(device) for device in devices],
        "cores": machine.cores(),
        "main_memory_bytes": machine.main_memory_bytes(),
        "places": {place.name: {"folder": str(place.folder), "free_bytes": place.free} for place in places},
        **_data(data_root),
        "weights": _weights(),
        "credentials": machine.credentials(),
    }
    if not json:
        _page(facts, problems)
    size = int(memory * 1e9) if memory is not None else min((device.memory_bytes for device in devices), default=None)
    found = _needs(catalog, tables, devices)
    if json:
        common.print_json(
            {
                "schema": 1,
                **facts,
                "warnings": [asdict(each) for each in problems],
                "memory_bytes": size,
                "fits": [_as_json(need, size) for need in found],
            }
        )
    else:
        _show_fits(found, size, asked=memory is not None, table=table)
    prevents = [each for each in problems if each.prevents]
    if prevents:
        raise MissingFault(*(each.says for each in prevents), next=prevents[0].next)


def _needs(catalog: "Catalog", tables: list[str], devices: "list[Device]") -> "list[Requirement]":
    """Return the rows that could be trained, each counted."""
    from segbench.capacity.fits import requirements

    precision: Precision = "bfloat16" if all(device.bf16 for device in devices) else "float32"
    found = requirements(catalog, tables, precision=precision)
    with common.busy("Counting what every row needs; that is kept for the next time ..."):
        for need in found:
            need.count()
    return found


def _data(data_root: Path | None) -> dict[str, Any]:
    from segbench.core.errors import SegbenchError
    from segbench.core.registry import names
    from segbench.data.describe import describe
    from segbench.data.places import data_root as root_of

    status: dict[str, str] = {}
    prepared: dict[str, int] = {}
    for name in names("dataset"):
        try:
            state = describe(name, root_of(data_root))
        except SegbenchError as error:  # one of the user's own
            status[name] = error.faults[0]
            continue
        status[name] = state.status
        if state.prepared_bytes:
            prepared[name] = state.prepared_bytes
    return {"data": status, "prepared_bytes": prepared}


def _weights() -> dict[str, bool]:
    """Return the weights of backbones by name, True for those that are here."""
    from segbench.checkpoints.backbone_weights import listed_weights, local_weights

    return {each.published.name: local_weights(each.published) is not None for each in listed_weights()}


def _page(facts: dict[str, Any], problems: "list[Problem]") -> None:
    from rich.text import Text

    view = common.table("", "")
    view.show_header = False
    view.columns[0].no_wrap = True
    versions = facts["versions"]
    head = [f"{name} {versions[name]}" for name in versions if name not in ("cuda", "driver", "commit")]
    view.add_row("versions", Text(" · ".join(head)))
    view.add_row("CUDA", f"{versions['cuda']} in torch, driver {versions['driver']}")
    ram = common.memory(facts["main_memory_bytes"])
    view.add_row("cpu", f"{common.many(facts['cores'], 'core')}, {ram} of main memory")
    for device in facts["devices"]:
        bf16 = "bfloat16" if device["bf16"] else "no bfloat16"
        view.add_row(device["name"], f"{device['model']}, {common.memory(device['memory_bytes'])}, {bf16}")
    if not facts["devices"]:
        view.add_row("gpu", "none that torch can use")
    for name, place in facts["places"].items():
        view.add_row(name, Text(f"{place['folder']}   {common.memory(place['free_bytes'])} free"))
    view.add_row("data sets", Text(_grouped(facts["data"])))
    prepared = [f"{name} {common.memory(count)}" for name, count in facts["prepared_bytes"].items()]
    view.add_row("prepared", ", ".join(prepared) or "none")
    here = [name for name, there in facts["weights"].items() if there]
    more = f" ({', '.join(here)})" if here else ""
    view.add_row("weights", f"{len(here)} of {len(facts['weights'])} backbones' here{more}")
    there = facts["credentials"]
    view.add_row("credentials", ", ".join(f"{name} {'set' if there[name] else 'not set'}" for name in there))
    lines = [f"!! {each.says}\n   Next: {each.next}" for each in problems] or ["No problems found."]
    common.show(view, Text("\n" + "\n".join(lines) + "\n"))


def _grouped(status: dict[str, str]) -> str:
    """Return data sets by state: ``ready: camvid · missing: ade20k, cityscapes``."""
    names: dict[str, list[str]] = {}
    for name, state in sorted(status.items(), key=lambda item: item[1] != "ready"):
        names.setdefault(state, []).append(name)
    return " · ".join(f"{state}: {', '.join(each)}" for state, each in names.items())


def _as_json(need: "Requirement", size: int | None) -> dict[str, Any]:
    entry = need.as_json()
    if size is not None:
        fallback = need.fit(size)
        entry["fits"] = fallback is not None
        entry["with"] = list(fallback.words) if fallback else []
        entry["comparable"] = fallback is not None and fallback.comparable
    return entry


def _show_fits(found: "list[Requirement]", size: int | None, *, asked: bool, table: str | None) -> None:
    from rich.text import Text

    from segbench.capacity.fits import COSTS, RESERVED, SHORT

    if not found:
        common.show(Text("None of these rows trains a network that is built."))
        return
    view, used = _fits_view(found, size)
    where = "one GPU" if size is None else f"a{'' if asked else ' (this)'} GPU of {common.memory(size)}"
    names = {name: f"{name} ({SHORT[name]})" if size is None else name for name in COSTS}
    lines = [f"{names[name]} {cost}" for name, cost in COSTS.items() if name in used]
    lines.append(f"Estimated from shapes for {found[0].precision}, not measured; {RESERVED}.")
    target = f"{found[0].resolved.table.name}/{found[0].resolved.row}"
    lines.append(f"Next: segbench reproduce {target} --dry-run" if table else "Next: segbench doctor TABLE --memory GB")
    common.show(Text(f"What rows need at their full protocol on {where}, in GB"), view, Text("\n" + "\n".join(lines)))


def _fits_view(found: "list[Requirement]", size: int | None) -> "tuple[View, set[str]]":
    """Return a line for rows of a table that need the same, and the fallbacks that occur."""
    from segbench.capacity.fits import COSTS, GB, SIZES_GB, grouped

    sizes = [size] if size is not None else [each * GB for each in SIZES_GB]
    columns = ["fits", "how"] if size is not None else [f"{each} GB" for each in SIZES_GB]
    right = ("batch", "training", "checkpointed", "evaluation")
    view = common.table("row", "data", *right, *columns, right=right)
    for column in view.columns[:2]:
        column.no_wrap = not common.is_narrow()
    used: set[str] = set()
    table = ""
    for group in grouped(found):
        first = group[0]
        resolved = first.resolved
        if resolved.table.name != table:
            table = resolved.table.name
            view.add_row(table)
        fallbacks = [first.fit(each) for each in sizes]
        used |= {name for fallback in fallbacks if fallback for name in COSTS if _occurs(name, fallback.words)}
        cells = ["no" if fallback is None else fallback.short for fallback in fallbacks]
        if size is not None:
            cells = [_class(first.published), _how(fallbacks[0])]
        more = f" and {len(group) - 1} more" if len(group) > 1 else ""
        counts = (first.training(), first.training(checkpoint=True), first.evaluation)
        view.add_row(
            f"  {resolved.row}{more}", resolved.dataset, str(first.batch), *(f"{count / GB:.1f}" for count in counts),
            *cells,
        )  # fmt: skip
    return view, used


def _class(count: int) -> str:
    from segbench.capacity.fits import size_class

    size = size_class(count)
    return "more" if size is None else f"{size} GB"


def _occurs(name: str, words: tuple[str, ...]) -> bool:
    return any(word.startswith(name.removesuffix(" N")) for word in words)


def _how(fallback: "Fallback | None") -> str:
    """Return ``as published``, the options to add to the command line, or ``no``."""
    return "no" if fallback is None else " ".join(fallback.words) or "as published"
