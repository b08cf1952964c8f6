"""Archives that the user downloaded: identified among a data set's archives, and verified."""

from collections.abc import Iterable
from pathlib import Path

from segbench.core.checksums import file_digests
from segbench.core.disk import amount
from segbench.core.errors import MissingFault
from segbench.core.progress import Count, ignore
from segbench.data.facts import Archive, DatasetOptions


def find_archive(folders: Iterable[Path], archive: Archive) -> Path | None:
    """Return the first file of the archive's name in some folders."""
    return next((folder / archive.name for folder in folders if (folder / archive.name).is_file()), None)


def identify_archive(path: Path, options: DatasetOptions, *, next: str = "") -> Archive:
    """Return the archive of a data set that a file is: by its name, its published size or a published checksum.

    Raises:
        MissingFault: the file is none of them.
    """
    by_name = [archive for archive in options.archives if archive.name == path.name]
    if by_name:
        return by_name[0]
    size = path.stat().st_size
    by_size = [archive for archive in options.archives if archive.size_bytes == size]
    if len(by_size) == 1:
        return by_size[0]
    kinds = {kind for archive in options.archives for kind in archive.checksums}
    seen = file_digests(path, kinds) if kinds else {}
    for archive in options.archives:
        if archive.checksums and all(seen[kind] == value.lower() for kind, value in archive.checksums.items()):
            return archive
    names = ", ".join(archive.name for archive in options.archives)
    unknown = [item.name for item in options.archives if not item.checksums and item.size_bytes is None]
    fault = f"{path} is none of the archives of {options.title} ({names}), by name, size or checksum."
    if unknown:
        fault += f" No size or checksum of {' or '.join(unknown)} is published: if it is that, restore its name."
    raise MissingFault(fault, next=next)


def verify_archive(path: Path, archive: Archive, *, progress: Count = ignore, next: str = "") -> str:
    """Return the SHA-256 of an archive that has the published size and checksums.

    Raises:
        MissingFault: it has not; the file stays where it is.
    """
    size, published = path.stat().st_size, archive.size_bytes
    if published is not None and size < published:
        raise MissingFault(f"{path} is cut off at {amount(size)} of {amount(published)}.", next=next)
    if published is not None and size > published:
        raise MissingFault(f"{path} has {size:,} bytes, {archive.name} has {published:,}: another file.", next=next)
    seen = file_digests(path, {"sha256", *archive.checksums}, progress=progress)
    for kind, value in archive.checksums.items():
        if seen[kind] != value.lower():
            fault = f"{path} has {kind} {seen[kind]}, published is {value}: damaged, cut off or another version."
            raise MissingFault(fault, next=next)
    return seen["sha256"]
