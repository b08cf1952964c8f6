"""``segbench show-predictions``: images beside their labels and what checkpoints and label sets say of them."""

from pathlib import Path
from typing import Annotated

import typer

from segbench.core.errors import InvalidFault, UsageFault

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
    import numpy as np

    from segbench.checkpoints.loaded_model import open_model
    from segbench.core import atomic
    from segbench.core.spec import DataSpec
    from segbench.data import places
    from segbench.data.label_sets import open_label_set
    from segbench.data.open import open_dataset
    from segbench.figures.predictions import draw, legend, of_label_set, of_network

    columns, scales, named = [], set(), dataset
    source: tuple[str, int | None] = ("folder", None)
    for name in checkpoints or []:
        model = open_model(Path(name))
        title = f"{Path(name).stem}"
        if model.header is not None:
            named = named or model.header.dataset
            scales.add(model.header.data_scale)
            source = model.header.data_source, model.header.data_images
            title = f"{title}, step {model.header.step:,}"
        columns.append(of_network(model, title))
    for folder in label_set or []:
        found = open_label_set(folder)
        data = found.made_by.data
        named = named or str(data["name"])
        scales.add(float(data.get("scale", 1.0)))
        source = data.get("source", "folder"), data.get("images")
        columns.append(of_label_set(found))
    if named is None:
        raise UsageFault("The data set is not known.", next="the same command with --dataset NAME")
    if len(scales) > 1:
        raise InvalidFault("They are of images of several sizes.", next="segbench show-predictions --help")
    spec = DataSpec(
        name=named,
        splits=(split,),
        scale=next(iter(scales), 1.0),
        source=source[0],
        images=source[1],
    )
    opened = open_dataset(spec, root=places.data_root(data_root), cache="use")
    places_of = {opened.key(index): index for index in range(len(opened))}
    if label_set and not keys:  # images that have a label in every set
        common_keys = set.intersection(*(set(open_label_set(folder).images) for folder in label_set))
        known = [key for key in places_of if key in common_keys]
    else:
        known = list(places_of)
    unknown = [key for key in keys or [] if key not in places_of]
    if unknown:
        raise UsageFault(f"{named} {split} has no image {unknown[0]!r}.", next="segbench show-predictions --help")
    chosen = keys or [known[int(place)] for place in np.linspace(0, len(known) - 1, min(images, len(known))).round()]
    picture = draw(opened, [places_of[key] for key in chosen], columns)
    picture = np.concatenate([picture, legend(opened.classes, width=picture.shape[1])])
    _, encoded = cv2.imencode(save.suffix, picture[..., ::-1])
    atomic.write_bytes(save, encoded.tobytes())
    typer.echo(f"wrote {save}")
