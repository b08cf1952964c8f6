"""A grid of images, their labels, and what networks and label sets say of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from segbench.checkpoints.loaded_model import LoadedModel
from segbench.data.classes import ClassTable
from segbench.data.dataset import SegDataset
from segbench.data.label_sets import LabelSet

Picture = NDArray[np.uint8]
_GAP, _HEADING = 4, 20  # pixels between pictures, and of the heading of a column


@dataclass(frozen=True)
class Column:
    """A column of the grid.

    Attributes:
        title: its heading.
        labels: train ids (H, W) of an image by its key and pixels (H, W, 3) RGB.
    """

    title: str
    labels: Callable[[str, Picture], Picture]


def of_network(model: LoadedModel) -> Column:
    """Return a column with a network's predictions of whole images at a single scale."""
    title = model.path.stem if model.header is None else f"{model.path.stem}, step {model.header.step:,}"

    def labels(_: str, image: Picture) -> Picture:
        found: Picture = model(model.preprocess(image)).argmax(1)[0].cpu().numpy().astype(np.uint8)
        return found

    return Column(title, labels)


def of_label_set(found: LabelSet) -> Column:
    """Return a column with the labels that a training gave."""
    return Column(f"labels of {found.made_by.stage}", lambda key, _: found.read(key))


def draw(dataset: SegDataset, indices: Sequence[int], columns: Sequence[Column], *, width: int = 320) -> Picture:
    """Draw a row for each image: the image, its label, and the columns, each with the share of right pixels.

    Args:
        dataset: images with labels; an image without a labelled pixel shows a black label and no shares.
        indices: images to draw.
        columns: what stands beside the labels.
        width: of a picture, in pixels.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    rows = [_heading(["image", "label", *(column.title for column in columns)], width)]
    for index in indices:
        image, label = dataset.read(index)
        pictures = [image, colours(label, dataset.classes)]
        captions = [dataset.key(index), ""]
        for column in columns:
            found = column.labels(dataset.key(index), image)
            inside = label < dataset.classes.num_classes
            pictures.append(colours(found, dataset.classes))
            captions.append(f"{100 * (found == label)[inside].mean():.1f} % right" if inside.any() else "")
        rows.append(_beside([_captioned(_fitted(p, width), text) for p, text in zip(pictures, captions, strict=True)]))
    return np.concatenate([row for pair in ((row, _gap(row)) for row in rows) for row in pair][:-1])


def colours(labels: Picture, table: ClassTable) -> Picture:
    """Paint train ids (H, W) with the colours of their classes; others are black."""
    return table.palette()[labels]


def legend(table: ClassTable, *, width: int) -> Picture:
    """Draw the classes with their colours, as many in a line as fit."""
    across = max(1, width // 160)
    lines = -(-table.num_classes // across)
    picture = np.full((lines * _HEADING, width, 3), 255, np.uint8)
    for number, name in enumerate(table.names):
        x, y = (number % across) * 160, (number // across) * _HEADING
        picture[y + 4 : y + 16, x + 4 : x + 16] = table.palette()[number]
        cv2.putText(picture, name[:18], (x + 20, y + 14), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
    return picture


def _fitted(picture: Picture, width: int) -> Picture:
    height = max(1, round(picture.shape[0] * width / picture.shape[1]))
    resized: Picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_NEAREST).astype(np.uint8)
    return resized


def _captioned(picture: Picture, text: str) -> Picture:
    """Write a text into the upper left corner, on a dark ground."""
    if not text:
        return picture
    (wide, high), base = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.4, 1)
    picture = picture.copy()
    picture[: high + base + 4, : wide + 6] //= 4
    cv2.putText(picture, text, (3, high + 3), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 255), 1, cv2.LINE_AA)
    return picture


def _heading(titles: Sequence[str], width: int) -> Picture:
    cells = []
    for title in titles:
        cell = np.full((_HEADING, width, 3), 255, np.uint8)
        cv2.putText(cell, title[: width // 7], (3, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
        cells.append(cell)
    return _beside(cells)


def _beside(pictures: Sequence[Picture]) -> Picture:
    gap = np.full((pictures[0].shape[0], _GAP, 3), 255, np.uint8)
    return np.concatenate([part for picture in pictures for part in (picture, gap)][:-1], axis=1)


def _gap(row: Picture) -> Picture:
    return np.full((_GAP, row.shape[1], 3), 255, np.uint8)
