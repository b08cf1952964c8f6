"""``segbench claims``: the sentences of publications that can be checked, and whether they hold."""

from typing import Annotated

import typer

from . import common


def command(
    paper: Annotated[str | None, typer.Argument(metavar="[PAPER]", help="Default: every paper.")] = None,
    recipe: common.Recipe = None,
    data_root: common.DataRoot = None,  # registers the user's own data sets, which recipes may name
    out: common.Out = None,
    json: common.Json = False,
) -> None:
    """Claims of the publications, judged by their own tables, by calculation, and by your runs.

    \b
    Examples:
      segbench claims contrastiveseg
      segbench claims --json
    """
    from segbench.results.formats.terminal import render_document
    from segbench.results.render import claims as rendered
    from segbench.results.render.blocks import Document, Summary
    from segbench.results.report import load_claims

    found = load_claims(paper, store=common.open_store(out), catalog=common.open_catalog(recipe))
    if json:
        common.print_json(
            [
                {"paper": name, **each.claim.canonical(), "verdict": each.word, "reason": each.reason}
                for name, claims in found.items()
                for each in claims
            ]
        )
        return
    sections = tuple(rendered.section(name, claims) for name, claims in found.items())
    total = [each for claims in found.values() for each in claims]
    document = Document("Claims of the publications", "", (*sections, Summary(f"{rendered.counted(total)}.")))
    console = common.console()
    typer.echo(render_document(document, width=console.width, color=console.is_terminal), nl=False)
