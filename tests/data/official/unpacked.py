"""Unpacks official archives as a download does: by the facts' own patterns."""

from pathlib import Path

from segbench.core.archive import extract
from segbench.data.facts import DatasetOptions, member_path


def unpack(archives: dict[str, Path], options: DatasetOptions, folder: Path) -> dict[str, bytes]:
    """What the wanted members of the archives leave, path in the data set's folder to content."""
    found: dict[str, bytes] = {}
    for archive in options.archives:
        path = archives[archive.name]
        if (itself := member_path(archive, archive.name)) is not None:  # no archive
            found[itself] = path.read_bytes()
            continue
        target = folder / archive.name
        extract(path, target, select=lambda member, of=archive: member_path(of, member), max_bytes=1 << 24)  # type: ignore[misc]
        for file in sorted(target.rglob("*")):
            if file.is_file():
                name = file.relative_to(target).as_posix()
                assert name not in found
                found[name] = file.read_bytes()
    return found


def files_in(folder: Path) -> dict[str, bytes]:
    """Path below a folder to content."""
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
