"""``segbench explain``: what the gap between a published and a measured score consists of."""

from typing import Annotated

import typer

from segbench.core.errors import UsageFault

from . import common


def command(
    target: Annotated[str, typer.Argument(metavar="TABLE/ROW", help="A row that was run.")],
    dataset: Annotated[str | None, typer.Option("--dataset", metavar="NAME", help="Only this data set.")] = None,
    recipe: common.Recipe = None,
    data_root: common.DataRoot = None,  # registers the user's own data sets, which recipes may name
    out: common.Out = None,
    json: common.Json = False,
) -> None:
    """Conventions, readings, seeds and deviations behind published less measured, in sentences.

    \b
    Examples:
      segbench explain contrastiveseg-table2/ce+contrast
      segbench explain contextrast-table6/layers-4-3 --dataset camvid --json
    """
    from segbench.results.gap import sentences, take_apart
    from segbench.results.report import load_figures

    table, row = common.split_target(target)
    store = common.open_store(out)
    report, entries = load_figures(
        table, row, store=store, catalog=common.open_catalog(recipe), dataset=dataset, metric="miou"
    )
    ran = [entry for entry in entries if entry.measured is not None and entry.shown is not None]
    if not ran:
        raise UsageFault(f"{target} is not run.", next=f"segbench reproduce {target}")
    components = [
        (entry, take_apart(entry, report.row(entry.figure.row, entry.figure.dataset), store)) for entry in ran
    ]
    if json:
        common.print_json(
            [
                {"row": entry.figure.row, "dataset": entry.figure.dataset, "difference": entry.difference,
                 "components": [vars(component) for component in found]}
                for entry, found in components
            ]
        )  # fmt: skip
        return
    for entry, found in components:
        typer.echo(f"{table}/{entry.figure.row} · {entry.figure.dataset} {entry.figure.split} ({entry.shown})")
        for line in sentences(entry, found):
            typer.echo(f"  {line}")
