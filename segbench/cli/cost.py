"""``segbench cost``: parameters and operations of a network under the conventions of the usual tools."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segbench.core.errors import UsageFault

from . import common

if TYPE_CHECKING:
    from segbench.core.spec import Size


_FILES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")


def command(
    target: Annotated[str, typer.Argument(metavar="TABLE/ROW|FILE", help="A row as published, or a checkpoint.")],
    sizes: Annotated[
        list[str] | None,
        typer.Option("--size", metavar="HxW", help="Input size; default: the usual ones. Repeatable."),
    ] = None,
    printed: Annotated[
        list[str] | None,
        typer.Option("--printed", metavar="NUMBER", help="Which convention gives this many G, or M parameters?"),
    ] = None,
    dataset: Annotated[str | None, typer.Option("--dataset", metavar="NAME", help="Of a row with several.")] = None,
    recipe: common.Recipe = None,
    json: common.Json = False,
) -> None:
    """One network has several costs: they differ by tool, by input size, and by what only training has.

    \b
    Examples:
      segbench cost contextrast-table7/contextrast
      segbench cost best.safetensors --size 520x520 --printed 258.743
    """
    from segbench.metrics.conventions import CONVENTIONS
    from segbench.reproduce.cost_table import cost_of_file, cost_of_row

    wanted = [_size(text) for text in sizes or []]
    for number in printed or []:
        if not re.fullmatch(r"\d+(\.\d+)?", number):
            raise UsageFault(f"--printed {number}: a number as printed, like 258.74.", next="segbench cost --help")
    path = Path(target)
    if target.count("/") == 1 and not path.exists() and path.suffix not in _FILES:
        table, row = common.split_target(target)
        found = cost_of_row(common.open_catalog(recipe), table, str(row), dataset=dataset, sizes=wanted)
    else:
        found = cost_of_file(path, sizes=wanted)
    asked = [*found.printed, *(("", number) for number in printed or [])]
    answers = {
        f"{number} {metric}".strip(): [
            *(found.explain(number, parameters=True) if metric in ("", "params_m") else []),
            *(found.explain(number) if metric in ("", "flops_g") else []),
        ]
        for metric, number in asked
    }
    if json:
        networks = [
            {
                "what": network.what,
                "parameters": network.parameters,
                "counts": {f"{h}x{w}": counts for (h, w), counts in network.counts.items()},
            }
            for network in found.networks
        ]
        common.print_json({"name": found.name, "networks": networks, "printed": answers})
        return
    typer.echo(found.name)
    for network in found.networks:
        typer.echo(f"{network.what}: {network.parameters / 1e6:.2f} M parameters ({network.parameters:,})")
    names = [f"{network.what} {h}x{w}" for network in found.networks for h, w in network.counts]
    grid = common.table("G operations", *names, right=tuple(names))
    for convention in CONVENTIONS:
        cells = [counts[convention] for network in found.networks for counts in network.counts.values()]
        grid.add_row(convention, *(f"{count / 1e9:,.2f}" for count in cells))
    common.show(grid)
    for name, says in CONVENTIONS.items():
        typer.echo(f"{name}: {says}")
    for what, words in answers.items():
        typer.echo(f"printed {what}: {'; '.join(words) or 'no convention and size here gives it'}")


def _size(text: str) -> "Size":
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if match is None or not all(0 < int(side) <= 16_384 for side in match.groups()):
        raise UsageFault(f"--size {text}: height and width in pixels, like 512x1024.", next="segbench cost --help")
    return int(match.group(1)), int(match.group(2))
