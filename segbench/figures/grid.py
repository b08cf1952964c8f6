"""The grid of images, labels and predictions of given checkpoints and label sets."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segbench.checkpoints.loaded_model import LoadedModel, open_model
from segbench.core.errors import InvalidFault, UsageFault
from segbench.core.spec import DataSpec
from segbench.data.dataset import SegDataset
from segbench.data.label_sets import LabelSet, open_label_set
from segbench.data.open import open_dataset

from .predictions import Picture, draw, legend, of_label_set, of_network

_SAME = ("source", "images", "size", "resize", "classes")  # of the data of a label set, beside name and scale


@dataclass(frozen=True)
class Columns:
    """Columns beside the images and their labels.

    Attributes:
        models: networks, each with its preprocessing.
        label_sets: labels that trainings gave.
    """

    models: Sequence[LoadedModel]
    label_sets: Sequence[LabelSet]

    def data(self, *, split: str, dataset: str | None = None) -> DataSpec:
        """Return the images that they were made for.

        Raises:
            UsageFault: no file names its data set and none is given.
            InvalidFault: they are of images of several sizes.
        """
        headers = [model.header for model in self.models if model.header is not None]
        given = [found.made_by.data for found in self.label_sets]
        names = [header.dataset for header in headers] + [str(data["name"]) for data in given]
        if dataset is None and not names:
            raise UsageFault("The data set is not known.", next="the same command with --dataset NAME")
        scales = {header.data_scale for header in headers} | {float(data.get("scale", 1.0)) for data in given}
        if len(scales) > 1:
            raise InvalidFault("They are of images of several sizes.", next="segbench show-predictions --help")
        sources = [{key: data[key] for key in _SAME if key in data} for data in given]
        sources += [{"source": header.data_source, "images": header.data_images} for header in headers]
        own = {"name": dataset or names[0], "splits": (split,), "scale": next(iter(scales), 1.0)}
        return DataSpec.model_validate(own | (sources[0] if sources else {}))


def open_columns(checkpoints: Sequence[Path], label_sets: Sequence[Path], *, device: str = "cpu") -> Columns:
    """Open checkpoints, onto a device, and label sets; faults are those of `open_model` and `open_label_set`."""
    models = [open_model(path) for path in checkpoints]
    for model in models:
        model.segmentor.to(device)
    return Columns(models, [open_label_set(folder) for folder in label_sets])


def choose(dataset: SegDataset, label_sets: Sequence[LabelSet], *, number: int, keys: Sequence[str] = ()) -> list[int]:
    """Return the positions of the images with the given names, or of some that are evenly spread.

    Args:
        dataset: opened images.
        label_sets: only images that all of them label are taken, unless names are given.
        number: of images, fewer if there are fewer.
        keys: names, ``split/name``.

    Raises:
        UsageFault: there is no image of a name, or none that every label set labels.
    """
    positions = {dataset.key(index): index for index in range(len(dataset))}
    strange = [key for key in keys if key not in positions]
    if strange:
        raise UsageFault(f"{strange[0]!r} is no image of the split.", next="segbench show-predictions --help")
    if keys:
        return [positions[key] for key in keys]
    common = [at for key, at in positions.items() if all(key in found.images for found in label_sets)]
    if not common:
        fault = "The label sets have labels of no image of the split."
        raise UsageFault(fault, next="the same command with --split NAME")
    places = np.linspace(0, len(common) - 1, min(number, len(common))).round().astype(int)
    return [common[place] for place in places]


def prediction_grid(
    columns: Columns,
    *,
    split: str,
    dataset: str | None = None,
    number: int = 4,
    keys: Sequence[str] = (),
    data_root: Path | None = None,
) -> Picture:
    """Draw images of a split beside their labels, predictions and label sets, with the classes below.

    Args:
        columns: opened networks and label sets.
        split: of the data set.
        dataset: name of the data set; None: that of the first file that names one.
        number: images, evenly spread over the split.
        keys: images by name instead, ``split/name``.
        data_root: folder of all data sets.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        UsageFault: an image, the split or the data set is unknown.
        InvalidFault: the files are of images of several sizes.
        MissingFault: images or labels are missing.
    """
    images = open_dataset(columns.data(split=split, dataset=dataset), root=data_root, cache="use")
    chosen = choose(images, columns.label_sets, number=number, keys=keys)
    drawn = [of_network(model) for model in columns.models] + [of_label_set(found) for found in columns.label_sets]
    picture = draw(images, chosen, drawn)
    return np.concatenate([picture, legend(images.classes, width=picture.shape[1])])
