"""``segbench explain-verdict``: the arithmetic behind the verdict of a figure."""

from typing import Annotated

import typer

from . import common


def command(
    target: Annotated[str, typer.Argument(metavar="TABLE/ROW", help="The row whose figures are explained.")],
    dataset: Annotated[str | None, typer.Option("--dataset", metavar="NAME", help="Only this data set.")] = None,
    metric: Annotated[
        str | None, typer.Option("--metric", metavar="NAME", help="Only this metric, such as miou or miou_gain.")
    ] = None,
    recipe: common.Recipe = None,
    data_root: common.DataRoot = None,  # registers the user's own data sets, which recipes may name
    out: common.Out = None,
) -> None:
    """Print how a verdict follows from the values: every number that a referee needs to check it by hand.

    \b
    Examples:
      segbench explain-verdict contrastiveseg-table2/ce+contrast
      segbench explain-verdict semiseg-table1/imagenet-deeplabv2-1_8 --metric miou
    """
    from segbench.results.arithmetic import explain
    from segbench.results.report import load_figures

    table, row = common.split_target(target)
    report, entries = load_figures(
        table, row, store=common.open_store(out), catalog=common.open_catalog(recipe), dataset=dataset, metric=metric
    )
    typer.echo("\n\n".join("\n".join(explain(report, entry)) for entry in entries))
