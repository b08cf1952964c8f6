"""``segbench audit``: what printed tables say against themselves."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import common

if TYPE_CHECKING:
    from segbench.recipe.audit import Inconsistency


def command(
    target: Annotated[
        str | None,
        typer.Argument(metavar="[TABLE|FILE.csv]", help="A registered table, or anybody's. Default: every table."),
    ] = None,
    recipe: common.Recipe = None,
    json: common.Json = False,
) -> None:
    """Contradictions of printed tables: by arithmetic, and as found by reading; with the reading that would fix each.

    A mean that is not that of its classes, gains that do not subtract, Dice and IoU that exclude each other, shares
    above 100, one quantity with two values. A CSV file has a row of the table a line (its name, then a column a metric
    or class), or a value a line (row, metric, printed; dataset, split, class and baseline if needed).

    \b
    Examples:
      segbench audit semiseg-table1
      segbench audit mytable.csv
    """
    from segbench.recipe.audit import audit
    from segbench.recipe.audit_catalog import TableAudit, audit_tables
    from segbench.recipe.printed_csv import read_printed

    if target is not None and target.lower().endswith(".csv"):
        values = read_printed(Path(target))
        found = [TableAudit(target, tuple(audit(values)), figures=len(values))]
    else:
        catalog = common.open_catalog(recipe)
        found = audit_tables(catalog, [target] if target is not None else list(catalog.tables))
    if json:
        common.print_json(
            [
                {"table": each.table, "computed": [vars(finding) for finding in each.computed], "read": list(each.read)}
                for each in found
            ]
        )
        return
    for each in found:
        if each.computed or each.read or len(found) == 1:
            typer.echo(each.table or "between tables")
            for finding in each.computed:
                typer.echo(f"  {_line(finding)}")
            for text in each.read:
                typer.echo(f"  read: {text}")
            if not each.computed and not each.read:
                typer.echo(f"  nothing speaks against its {common.many(each.figures, 'figure')}")
            typer.echo("")
    computed, read = sum(len(each.computed) for each in found), sum(len(each.read) for each in found)
    total = sum(each.figures for each in found)
    typer.echo(f"{common.many(computed, 'contradiction')} by arithmetic in {total:,} figures, {read} more by reading.")


def _line(finding: "Inconsistency") -> str:
    where = " ".join(filter(None, (finding.row, finding.group)))
    repair = f" Fixed by: {finding.repair}." if finding.repair else ""
    return f"{where}: {finding.says}.{repair}"
