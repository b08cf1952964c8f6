"""``segbench weights convert``: write a checkpoint in another project's format."""

from pathlib import Path
from typing import Annotated

import typer

from segbench.cli import common
from segbench.cli.data.shared import say
from segbench.core.progress import Observer


class _Notes(Observer):
    """Observer that prints notes on stderr."""

    def note(self, text: str) -> None:
        typer.echo(text, err=True)


FORMS = "segbench, mmsegmentation, huggingface, torchvision, hrnet, openseg, nvlabs, semseg or swin."


def command(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A checkpoint, or the name of a registered one.", show_default=False)
    ],
    to: Annotated[
        str,
        typer.Option("--to", metavar="FORM", help=FORMS, show_default=False),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE", help="Of huggingface a folder; default: named after FILE, here."),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option("--dataset", metavar="NAME", help="Whose classes a foreign checkpoint predicts.")
    ] = None,
    family: Annotated[
        str | None, typer.Option("--family", metavar="NAME", help="Family of the checkpoint; default: recognised.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing files.")] = False,
    data_root: common.DataRoot = None,
) -> None:
    """Write a checkpoint in another format, and verify that it computes the same.

    \b
    Examples:
      segbench weights convert mmseg-pspnet-r101-cityscapes-80k --to segbench
      segbench weights convert best.safetensors --to mmsegmentation --output pspnet.pth
    """
    with common.busy("Converting ..."):
        from segbench.checkpoints.convert import convert, default_output
        from segbench.checkpoints.find import find_checkpoint

        source = find_checkpoint(file, observer=_Notes())
        path, published = source.path, source.published
        named = published is not None and file == published.name
        done = convert(
            path,
            to,
            output=output or default_output(file if named else path.stem, to),
            force=force,
            dataset=dataset,
            family=family,
            published=published,
        )
    opened = done.source
    classes = f"{len(opened.header.classes)} classes of {opened.header.dataset}"
    say(" ok  ", f"{path.name}: {opened.title} ({opened.family}), {classes}")
    if opened.dropped:
        left = common.many(len(opened.dropped), "tensor")
        say(" --  ", f"{left} of the original left out, as not in the network, such as {opened.dropped[0]}")
    for note in opened.notes:
        say(" --  ", note)
    say(" ok  ", f"loaded again, its logits differ by {done.difference:.1g} of the largest")
    say(" ok  ", f"{common.many(done.tensors, 'tensor')}, {common.memory(done.path.stat().st_size)}: {done.path}")
    if done.sidecars:
        folder = done.path.parent
        say(" ok  ", f"with {', '.join(done.sidecars)} beside it: from_pretrained({str(folder)!r}) loads the folder")
    if published is not None:
        say(" --  ", f"Licence of the original: {published.licence}")
    typer.echo(f"Next: segbench eval --checkpoint {done.path}")
