"""Archives of predictions for test servers, written and checked as strictly as a server does.

The ``server`` module of a data set describes its test server:

- ``SERVER``: a ``Server`` with its name, address, split, scores and type of archive;
- ``member(key) -> str``: path inside the archive for an image's key;
- ``encode(train_ids, table) -> bytes``: the PNG file of one prediction, uint8 (H, W) train ids;
- ``VALUES``: the pixel values that may occur.
"""

import gzip
import io
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import IO

import numpy as np
from PIL import Image, UnidentifiedImageError

from segbench.core import atomic
from segbench.core.errors import UsageFault, first_line
from segbench.core.hashing import file_sha256
from segbench.core.registry import has_module, implementation, names
from segbench.core.spec import Size

_LINES = 5  # faults of an archive that are listed before the others are counted
_EPOCH = (1980, 1, 1, 0, 0, 0)  # equal predictions make equal archives


@dataclass(frozen=True)
class Server:
    """Test server of a split.

    Attributes:
        title: as in "only TITLE can score it".
        url: of the submission page.
        split: the split it scores.
        metrics: the scores that it returns, in segbench's names.
        suffix: ``.zip`` or ``.tar.gz``.
        hint: advice before a submission, one sentence.
    """

    title: str
    url: str
    split: str
    metrics: tuple[str, ...]
    suffix: str
    hint: str


def server_of(dataset: str, split: str) -> ModuleType:
    """Return the server module of a data set.

    Raises:
        UsageFault: no server scores that split.
    """
    if not has_module("dataset", dataset, "server"):
        known = ", ".join(name for name in names("dataset") if has_module("dataset", name, "server"))
        raise UsageFault(
            f"{dataset} has no test server; those that have one: {known}.",
            next=f"segbench eval --checkpoint FILE --dataset {dataset}",
        )
    module = implementation("dataset", dataset, "server")
    if module.SERVER.split != split:
        raise UsageFault(
            f"{module.SERVER.title} scores the {module.SERVER.split} split, not {split}.",
            next=f"segbench eval --checkpoint FILE --dataset {dataset} --split {split}",
        )
    return module


def pack(folder: Path, members: list[str], archive: Path) -> str:
    """Pack files into a zip or tar.gz atomically, in the given order and without times or owners.

    Args:
        folder: of the files, which have their member paths in it.
        members: paths inside the archive.
        archive: path to write to, ending in ``.zip`` or ``.tar.gz``.

    Returns:
        SHA-256 of the archive.

    Raises:
        RunFault: the disk is full or not writable.
    """
    atomic.write(archive, lambda file: (_zip if archive.suffix == ".zip" else _tar)(file, folder, members))
    return file_sha256(archive)


def check(archive: Path, expected: Mapping[str, Size], values: frozenset[int]) -> list[str]:
    """Return the faults of an archive, one line each; none if it may be submitted.

    Args:
        archive: zip or tar.gz.
        expected: member path to (height, width) of its image; exactly these members must be there.
        values: allowed pixel values.
    """
    faults: list[str] = []
    seen: set[str] = set()
    try:
        for name, data in _members(archive):
            if name in seen:
                faults.append(f"{name} is there twice")
            elif name not in expected:
                faults.append(f"{name} does not belong there")
            elif fault := _image_fault(data, expected[name], values):
                faults.append(f"{name} {fault}")
            seen.add(name)
    except (OSError, EOFError, zipfile.BadZipFile, tarfile.TarError) as error:
        return [f"{archive.name} cannot be read: {error}"]
    faults += [f"{name} is missing" for name in expected if name not in seen]
    if len(faults) > _LINES:
        faults[_LINES:] = [f"... and {len(faults) - _LINES:,} more faults"]
    return faults


def grey_png(values: np.ndarray) -> bytes:
    """Return uint8 (H, W) as a grey 8-bit PNG."""
    return _png(Image.fromarray(np.ascontiguousarray(values)))


def palette_png(values: np.ndarray, palette: np.ndarray) -> bytes:
    """Return uint8 (H, W) as a palette PNG; ``palette`` is uint8 (256, 3) RGB."""
    image = Image.fromarray(np.ascontiguousarray(values))
    image.putpalette(palette.astype(np.uint8).tobytes())
    return _png(image)


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def _image_fault(data: bytes, size: Size, values: frozenset[int]) -> str:
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.format != "PNG":
                return f"is {image.format}, not PNG"
            if image.mode not in ("L", "P"):
                return f"has mode {image.mode}; it must have one channel of 8 bits"
            if (image.height, image.width) != tuple(size):
                return f"is {image.height}x{image.width}, its image {size[0]}x{size[1]}"
            found = {index for index, count in enumerate(image.histogram()[:256]) if count}
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        return f"is not an image: {first_line(error)}"
    unknown = sorted(found - values)
    return f"has the values {', '.join(map(str, unknown[:8]))}, which no class has" if unknown else ""


def _members(archive: Path) -> Iterator[tuple[str, bytes]]:
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as file:
            for info in file.infolist():
                if not info.is_dir():
                    yield info.filename, file.read(info)
        return
    with tarfile.open(archive, "r:gz") as tar:
        for entry in tar:
            stream = tar.extractfile(entry) if entry.isreg() else None
            if stream is not None:
                yield entry.name, stream.read()


def _zip(file: IO[bytes], folder: Path, members: list[str]) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as out:  # PNG files are compressed already
        for name in members:
            out.writestr(zipfile.ZipInfo(name, _EPOCH), (folder / name).read_bytes())


def _tar(file: IO[bytes], folder: Path, members: list[str]) -> None:
    # mtime: else the time of packing is in the header
    with (
        gzip.GzipFile(fileobj=file, mode="wb", mtime=0, filename="") as packed,
        tarfile.open(fileobj=packed, mode="w") as out,
    ):
        for name in members:
            data = (folder / name).read_bytes()
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            out.addfile(entry, io.BytesIO(data))
