"""Masks from ``trainval_merged.json`` of PASCAL in Detail, the origin of the published masks too.

Each image has a list of regions with a category, which is one of the 459 ids, and a run-length code in the form of
COCO's mask API. Source of the format: zhanghang1989/detail-api (``Detail.getMask``), common/maskApi.h.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from segbench.core.errors import MissingFault

from .ids import to_values

_FIX = "segbench data download pascal-context --replace"


def read_masks(path: Path) -> Iterator[tuple[str, str, Callable[[], np.ndarray]]]:
    """Yield every image of a merged file.

    Yields:
        Split (train, val), name of the image (2008_000123), and a function that draws its mask, uint8 (H, W) of 0..59.

    Raises:
        MissingFault: the file is missing or not valid; drawing a mask may raise it too.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        regions: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for region in data["annos_segmentation"]:
            regions[region["image_id"]].append(region)
        found = [
            (image["phase"], Path(image["file_name"]).stem, partial(_mask, path, image, regions[image["image_id"]]))
            for image in data["images"]
            if image["phase"] in ("train", "val")
        ]
    except OSError as error:
        raise MissingFault(f"{path} cannot be read ({error.strerror}).", next=_FIX) from error
    except (ValueError, KeyError, TypeError) as error:
        raise MissingFault(f"{path} is cut off or no merged file of PASCAL in Detail ({error}).", next=_FIX) from error
    yield from sorted(found, key=lambda item: item[:2])


def decode_runs(counts: str | list[int], height: int, width: int) -> np.ndarray:
    """Decode COCO's run-length code.

    The runs are of zeros, ones, zeros ..., column by column. As text each is a number of 5-bit digits, lowest first,
    sign-extended: a character is 48 + digit, + 32 if another digit follows; from the fourth run on the number is the
    difference to the last run but one.

    Returns:
        bool (H, W).

    Raises:
        ValueError: the runs do not fill the picture.
    """
    runs = _runs(counts) if isinstance(counts, str) else list(counts)
    if any(run < 0 for run in runs) or sum(runs) != height * width:
        raise ValueError(f"the runs of a region do not make {height} x {width} pixels")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T


def _runs(text: str) -> list[int]:
    runs: list[int] = []
    value = shift = 0
    for sign in text:
        digit = ord(sign) - 48
        if not 0 <= digit < 64:
            raise ValueError("the runs of a region hold a sign that is none of their code")
        value |= (digit & 31) << shift
        shift += 5
        if digit & 32:
            continue
        if digit & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("the runs of a region are cut off")
    return runs


def _mask(path: Path, image: dict[str, Any], regions: list[dict[str, Any]]) -> np.ndarray:
    """Draw the regions in the order of the file, each over those before it."""
    try:
        ids = np.zeros((image["height"], image["width"]), np.uint16)
        for region in regions:
            ids[decode_runs(region["segmentation"]["counts"], *ids.shape)] = region["category_id"]
        return to_values(ids)
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise MissingFault(f"{path}: {image.get('file_name')}: {error}.", next=_FIX) from error
