"""What is known about a data set before any file is read. Free of torch and of image libraries."""

import re
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from segbench.core.errors import UsageFault
from segbench.core.registry import options_of
from segbench.core.spec import Options, Size, Spec


class Archive(Spec):
    """A file to download.

    Attributes:
        name: what the file is called where it comes from; a file of that name that the user fetched by hand is taken.
        urls: where it lies, tried in order; the addresses of an account's files are those of its site.
        members: regular expression that a member's path must match to be unpacked; what group 1 matches
            is its path inside the data set's folder.
        checksums: published digests, e.g. ``{"sha256": "..."}``; all that are given must hold.
        size_bytes: published size, or None.
        unpacked_bytes: most that the wanted members may unpack to; None for four times the data set's size.
        account: the account that stands before it (a module of ``segbench.data.fetching.accounts``), or None.
        splits: the splits that cannot do without it; empty for all.
    """

    name: str
    urls: tuple[str, ...]
    members: str
    checksums: dict[Literal["md5", "sha1", "sha256"], str] = Field(default={})
    size_bytes: int | None = None
    unpacked_bytes: int | None = None
    account: str | None = None
    splits: tuple[str, ...] = ()


class DatasetOptions(Options):
    """Facts of one data set. Every data set's ``Options`` derives from it and gives the values.

    Attributes:
        title: the name people use.
        table: class table used when a recipe names no variant.
        variants: other class tables that its label files serve.
        splits: split name to accepted numbers of images, the official one first.
        optional: splits that a data set is whole without.
        secret: splits whose labels are not public: only their server scores them.
        reported: the split that papers score where they say no more.
        native_size: (height, width) of every image, or None where they differ.
        size_bytes: of the unpacked files that are used.
        licence: one sentence.
        obtain: one sentence that says how to get the data.
        archives: what ``segbench data download`` fetches, in order.
        content_sha256: SHA-256 of the reference copy's ``sha256sum`` listing, or None.
        notes: what a user should know of it, a sentence each: counts that papers print otherwise, known flaws.
    """

    title: str
    table: str
    variants: tuple[str, ...] = ()
    splits: dict[str, tuple[int, ...]]
    optional: tuple[str, ...] = ()
    secret: tuple[str, ...] = ()
    reported: str = "val"
    native_size: Size | None = None
    size_bytes: int
    licence: str
    obtain: str
    archives: tuple[Archive, ...] = ()
    content_sha256: str | None = None
    notes: tuple[str, ...] = ()

    def class_slugs(self, variant: str | None = None) -> tuple[str, ...]:
        """Names of the classes as keys, in the order of their train ids.

        Args:
            variant: name of another class table than the usual one.
        """
        from .classes import class_table  # with numpy, which the facts alone do not need

        return class_table(variant or self.table).slugs

    def images_of(self, splits: Sequence[str]) -> int | None:
        """How many images some splits have together; None where that is not known."""
        counts = [self.splits.get(split, ()) for split in splits]
        return sum(each[0] for each in counts) if all(counts) else None


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
