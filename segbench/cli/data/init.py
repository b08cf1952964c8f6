"""``segbench data init``: a first dataset.yaml for a data set of your own."""

from pathlib import Path
from typing import Annotated

import typer

from segbench.cli import common
from segbench.core.errors import UsageFault


def command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the new data set.", show_default=False)],
    images: Annotated[
        Path, typer.Option("--images", metavar="FOLDER", help="Images; {split} may stand in it.", show_default=False)
    ],
    labels: Annotated[
        Path, typer.Option("--labels", metavar="FOLDER", help="Label files, likewise.", show_default=False)
    ],
    data_root: common.DataRoot = None,
) -> None:
    """Write a first dataset.yaml for your own images and labels; nothing is copied.

    \b
    Examples:
      segbench data init fields --images fields/images --labels fields/labels
      segbench data init fields --images 'fields/{split}/jpg' --labels 'fields/{split}/png'
    """
    from segbench.core import atomic
    from segbench.core.registry import is_packaged
    from segbench.data import places
    from segbench.data.own_data.description import FILE, is_name
    from segbench.data.own_data.starter import starter

    path = places.data_root(data_root) / name / FILE
    if not is_name(name) or is_packaged("dataset", name):
        why = "segbench has one of its own" if is_name(name) else "letters, digits, - and _ only"
        raise UsageFault(f"{name!r} cannot be the name of a data set: {why}.", next="segbench data init --help")
    if path.exists():
        raise UsageFault(f"{path} exists and is not overwritten.", next=f"segbench data verify {name}")
    with common.busy("Looking at the label files ..."):
        text = starter(name, path.parent, images, labels)
    atomic.write_text(path, text)
    typer.echo(f"wrote {path}: give the classes their names")
    typer.echo(f"Next: segbench data verify {name}")
