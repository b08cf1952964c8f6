"""Checksums of downloaded files: published ones, and the SHA-256 that was seen first where none is published.

That one is kept in ``NAME.sha256`` beside the file, in the form of ``sha256sum``.
"""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from .progress import Count, ignore

_TITLES = {"md5": "MD5", "sha1": "SHA-1", "sha256": "SHA-256"}
_DIGITS = {"md5": 32, "sha1": 40, "sha256": 64}
_MIN_DIGITS = 8  # of an abbreviated digest, as torch.hub has in its file names


class ChecksumMismatch(Exception):
    """A file is not the expected one; the message is one sentence without an end."""


def file_digests(path: Path, kinds: Iterable[str], *, progress: Count = ignore) -> dict[str, str]:
    """Return the hexadecimal digests of a file by algorithm, in one reading.

    Args:
        path: of the file.
        kinds: names of algorithms, as of ``hashlib``.
        progress: called with (bytes read, bytes in all).

    Raises:
        OSError: the file cannot be read.
    """
    sums = {kind: hashlib.new(kind, usedforsecurity=False) for kind in kinds}
    done, total = 0, path.stat().st_size
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            for each in sums.values():
                each.update(piece)
            done += len(piece)
            progress(done, total)
    return {kind: each.hexdigest() for kind, each in sums.items()}


def verify_checksums(file: Path, checksums: Mapping[str, str], *, path: Path | None = None) -> str:
    """Return the SHA-256 of a file that has all of its checksums.

    Args:
        file: the bytes.
        checksums: published digests in hexadecimal by algorithm (``md5``, ``sha1``, ``sha256``), complete or their
            first eight digits and more. Unless one of them is complete, the recorded SHA-256 must hold too.
        path: the file's final path, where its record lies; None for ``file``.

    Raises:
        ChecksumMismatch: one of them differs.
        OSError: the file cannot be read.
    """
    path = path or file
    expected = [(kind, value.lower(), "published") for kind, value in checksums.items()]
    recorded = recorded_sha256(path)
    if recorded and not any(len(value) == _DIGITS[kind] for kind, value, _ in expected):
        expected.append(("sha256", recorded, f"recorded in {_record(path)} (remove that to accept another file)"))
    seen = file_digests(file, {"sha256", *checksums})
    for kind, value, origin in expected:
        if len(value) < _MIN_DIGITS or not seen[kind].startswith(value):
            begins = "is" if len(value) == _DIGITS[kind] else "begins with"
            raise ChecksumMismatch(f"{path.name} has {_TITLES[kind]} {seen[kind]}, the one {origin} {begins} {value}")
    return seen["sha256"]


def record_sha256(path: Path, sha256: str) -> None:
    """Keep the SHA-256 of a file, so that later ones are held to it."""
    _record(path).write_text(f"{sha256}  {path.name}\n", encoding="utf-8")


def recorded_sha256(path: Path) -> str:
    """Return the SHA-256 that is kept beside a file; empty if there is none."""
    record = _record(path)
    return record.read_text(encoding="utf-8").split()[0] if record.exists() else ""


def remove_with_record(path: Path) -> None:
    """Remove a downloaded file and the SHA-256 that later ones would be held to."""
    _record(path).unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _record(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")
