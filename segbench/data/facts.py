"""What is known about a data set before any file is read. Free of torch and of image libraries."""

import re

from segbench.core.errors import UsageFault
from segbench.core.registry import options_of
from segbench.core.spec import Options, Size, Spec


class Archive(Spec):
    """A file to download.

    Attributes:
        url: where it lies.
        members: regular expression that a member's path must match to be unpacked; what group 1 matches
            is its path inside the data set's folder.
        sha256: published checksum, or None where none is published.
        size_bytes: published size, or None.
    """

    url: str
    members: str
    sha256: str | None = None
    size_bytes: int | None = None


class DatasetOptions(Options):
    """Facts of one data set. Every data set's ``Options`` derives from it and gives the values.

    Attributes:
        title: the name people use.
        table: class table used when a recipe names no variant.
        variants: other class tables that its label files serve.
        splits: split name to accepted numbers of images, the official one first.
        native_size: (height, width) of every image, or None where they differ.
        size_bytes: of the unpacked files that are used.
        licence: one sentence.
        obtain: one sentence that says how to get the data.
        archive: what ``segbench data download`` fetches; None where a login stands before it.
        content_sha256: SHA-256 of the reference copy's ``sha256sum`` listing, or None.
    """

    title: str
    table: str
    variants: tuple[str, ...] = ()
    splits: dict[str, tuple[int, ...]]
    native_size: Size | None = None
    size_bytes: int
    licence: str
    obtain: str
    archive: Archive | None = None
    content_sha256: str | None = None


def facts(name: str) -> DatasetOptions:
    """The facts of a registered data set.

    Raises:
        UsageFault: the name is not registered.
    """
    options = options_of("dataset", name)()
    assert isinstance(options, DatasetOptions), f"options of data set {name} are no DatasetOptions"
    return options


def native_size(name: str) -> Size | None:
    """(height, width) of the data set's images, None where they differ; for plans."""
    return facts(name).native_size


def require_split(options: DatasetOptions, split: str) -> None:
    """Raise UsageFault unless the data set has the split."""
    if split not in options.splits:
        known = ", ".join(options.splits)
        raise UsageFault(f"{options.title} has no split {split!r}. It has: {known}.", next="segbench data list")


def member_path(archive: Archive, member: str) -> str | None:
    """Path inside the data set's folder of an archive member, or None if it is not wanted."""
    match = re.fullmatch(archive.members, member)
    return match.group(1) if match else None
