"""``segbench show-predictions``: images beside their labels and what checkpoints and label sets say of them."""

from pathlib import Path
from typing import Annotated

import typer

from segbench.core.errors import UsageFault

from . import common


def command(
    checkpoints: Annotated[
        list[str] | None,
        typer.Argument(metavar="CHECKPOINT...", help="Weights files, other projects' checkpoints or registered names."),
    ] = None,
    save: Annotated[Path, typer.Option("--save", metavar="FILE", help="The picture: .png or .jpg.")] = Path("grid.png"),
    label_set: Annotated[
        list[Path] | None,
        typer.Option("--label-set", metavar="FOLDER", help="Labels that a training gave, as a column. Repeatable."),
    ] = None,
    dataset: Annotated[str | None, typer.Option("--dataset", metavar="NAME", help="Default: the first file's.")] = None,
    split: Annotated[str, typer.Option("--split", metavar="NAME")] = "train",
    images: Annotated[int, typer.Option("--images", metavar="N", min=1, help="Number of images, evenly spread.")] = 4,
    keys: Annotated[
        list[str] | None, typer.Option("--key", metavar="NAME", help="This image, as split/name. Repeatable.")
    ] = None,
    device: common.Device = "auto",
    data_root: common.DataRoot = None,
) -> None:
    """Draw images, their labels and predictions as one picture.

    \b
    Examples:
      segbench show-predictions step-000275.safetensors last.safetensors --save grid.png
      segbench show-predictions last.safetensors --label-set FOLDER --images 6
    """
    if save.suffix.lower() not in (".png", ".jpg"):
        raise UsageFault(f"--save {save}: pictures are .png or .jpg.", next="segbench show-predictions --help")
    if not checkpoints and not label_set:
        fault = "Nothing to show: neither a checkpoint nor a label set."
        raise UsageFault(fault, next="segbench show-predictions --help")
    import cv2

    from segbench.core import atomic
    from segbench.data import places
    from segbench.engine.runtime import choose_runtime
    from segbench.figures.grid import open_columns, prediction_grid

    files = [Path(name) for name in checkpoints or []]
    columns = open_columns(files, label_set or [], device=choose_runtime(device).device)
    picture = prediction_grid(
        columns,
        split=split,
        dataset=dataset,
        number=images,
        keys=keys or (),
        data_root=places.data_root(data_root),
    )
    _, encoded = cv2.imencode(save.suffix, picture[..., ::-1])
    atomic.write_bytes(save, encoded.tobytes())
    typer.echo(f"wrote {save}")
