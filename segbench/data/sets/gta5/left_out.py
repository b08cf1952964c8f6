"""Pairs of GTA5 whose label and image differ in size, so that their pixels do not correspond.

Other code skips them. Here they stay in the list, so that every machine draws the same images, and are read as ignored
everywhere. They are found by file headers and stored in the cache folder (``left-out/gta5-*.json``).
"""

import contextlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from segbench.core import atomic
from segbench.core.errors import RunFault
from segbench.core.spec import Size, digest
from segbench.data.places import cache_root
from segbench.data.prepared.headers import header_size
from segbench.data.reader import Finding, Pair

_THREADS = 16  # they wait for the disk
_NAMED = 20


class LeftOut(NamedTuple):
    """One pair: its key and the (height, width) of both files."""

    key: str
    image: Size
    label: Size


def image_of(label: Path) -> Path:
    """Return the image of a label file, in ``images`` and ``labels`` or in folders below these."""
    name = f"{label.stem.removesuffix('_labelTrainIds')}.png"
    if label.parent.name == "labels":
        return label.parent.with_name("images") / name
    return label.parent.parent.with_name("images") / label.parent.name / name


def left_out(folder: Path, pairs: Sequence[Pair]) -> list[LeftOut]:
    """Return the pairs by the headers of their files; cached until files are added or removed.

    Args:
        folder: folder of the data set.
        pairs: pairs of all splits.
    """
    path = cache_root() / "left-out" / f"gta5-{digest(str(folder.resolve()))}.json"
    places = sorted({file.parent for pair in pairs for file in pair.files})
    state = digest([[str(place), place.stat().st_mtime_ns if place.is_dir() else 0] for place in places] + [len(pairs)])
    known = _recall(path, state)
    if known is None:
        with ThreadPoolExecutor(_THREADS) as pool:
            known = [found for found in pool.map(_compare, pairs) if found is not None]
        with contextlib.suppress(RunFault, OSError):  # without a cache the headers are read again
            atomic.write_json(path, {"state": state, "folder": str(folder), "pairs": known})
    return known


def findings(folder: Path, pairs: Sequence[Pair]) -> Iterator[Finding]:
    """Yield a note that names them, if there are any."""
    found = left_out(folder, pairs)
    if found:
        named = ", ".join(f"{one.key} (label {_by(one.label)}, image {_by(one.image)})" for one in found[:_NAMED])
        more = f" and {len(found) - _NAMED:,} more" if len(found) > _NAMED else ""
        text = f"read as ignored everywhere, because label and image are not equally large: {named}{more}"
        yield Finding("note", text, kind="left out")


def _compare(pair: Pair) -> LeftOut | None:
    image = header_size(pair.image)
    label = header_size(pair.label) if pair.label is not None else None
    return LeftOut(pair.key, image, label) if image and label and image != label else None


def _recall(path: Path, state: str) -> list[LeftOut] | None:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["state"] != state:
            return None
        return [LeftOut(key, (image[0], image[1]), (label[0], label[1])) for key, image, label in data["pairs"]]
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None


def _by(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
