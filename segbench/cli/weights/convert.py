"""``segbench weights convert``: a checkpoint in another project's form."""

from pathlib import Path
from typing import Annotated

import typer

from segbench.cli import common
from segbench.cli.data.shared import say

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
        str | None, typer.Option("--family", metavar="NAME", help="Whose checkpoint it is; default: found out.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
    data_root: common.DataRoot = None,
) -> None:
    """Write a checkpoint in another form, and prove that it computes the same.

    \b
    Examples:
      segbench weights convert mmseg-pspnet-r101-cityscapes-80k --to segbench
      segbench weights convert best.safetensors --to mmsegmentation --output pspnet.pth
    """
    with common.busy("Converting ..."):
        from segbench.checkpoints.convert import convert, default_output
        from segbench.checkpoints.find import find_checkpoint

        path, published = find_checkpoint(file, note=lambda text: typer.echo(text, err=True))
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
    source = done.source
    classes = f"{len(source.header.classes)} classes of {source.header.dataset}"
    say(" ok  ", f"{path.name}: {source.title} ({source.family}), {classes}")
    if source.dropped:
        left = common.many(len(source.dropped), "tensor")
        say(" --  ", f"{left} of the original left out, as no part of the network, such as {source.dropped[0]}")
    for note in source.notes:
        say(" --  ", note)
    say(" ok  ", f"loaded again, its logits differ by {done.difference:.1g} of the largest")
    say(" ok  ", f"{common.many(done.tensors, 'tensor')}, {common.memory(done.path.stat().st_size)}: {done.path}")
    if done.sidecars:
        folder = done.path.parent
        say(" ok  ", f"with {', '.join(done.sidecars)} beside it: from_pretrained({str(folder)!r}) loads the folder")
    if published is not None:
        say(" --  ", f"Licence of the original: {published.licence}")
    typer.echo(f"Next: segbench eval --checkpoint {done.path}")
