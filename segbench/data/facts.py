"""Facts of a data set, known before any file is read. Free of torch and of image libraries."""

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
        name: file name at its origin; a file of that name downloaded by hand is accepted.
        urls: addresses, tried in order; for an account they are those of its site.
        members: regular expression that the path of a member must match to be unpacked; group 1 is its path inside the
            data set's folder.
        checksums: published digests, e.g. ``{"sha256": "..."}``; all of them must match.
        size_bytes: published size, or None.
        unpacked_bytes: limit on the unpacked size of the wanted members; None for four times the data set's size.
        account: account that it requires (a module of ``segbench.data.fetching.accounts``), or None.
        splits: splits that need it; empty for all.
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
    """Facts of one data set; base class of every data set's ``Options``.

    Attributes:
        title: display name.
        table: class table if a recipe names no variant.
        variants: other class tables that its label files serve.
        splits: split name to accepted numbers of images, official one first.
        optional: splits without which the data set is still complete.
        secret: splits whose labels are not public; only a server scores them.
        reported: split that papers score by default.
        native_size: (height, width) of every image, or None if they differ.
        size_bytes: size of the unpacked files that are used.
        licence: one sentence.
        obtain: how to get the data, one sentence.
        archives: files that ``segbench data download`` fetches, in order.
        content_sha256: SHA-256 of the reference copy's ``sha256sum`` listing, or None.
        notes: sentences for users: counts that papers print differently, known flaws.
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
        """Return the class names as keys, in the order of their train ids.

        Args:
            variant: name of another class table.
        """
        from .classes import class_table  # imports numpy, which the facts alone do not need

        return class_table(variant or self.table).slugs

    def images_of(self, splits: Sequence[str]) -> int | None:
        """Return the number of images in some splits together, None if unknown."""
        counts = [self.splits.get(split, ()) for split in splits]
        return sum(each[0] for each in counts) if all(counts) else None


def facts(name: str) -> DatasetOptions:
    """Return the facts of a registered data set.

    Raises:
        UsageFault: the name is not registered.
    """
    options = options_of("dataset", name)()
    assert isinstance(options, DatasetOptions), f"options of data set {name} are no DatasetOptions"
    return options


def obtain_command(name: str) -> str:
    """Return the command that gets a data set, or that says how to get it where there is nothing to download."""
    return f"segbench data {'download' if facts(name).archives else 'list'} {name}"


def native_size(name: str) -> Size | None:
    """Return (height, width) of the images of a data set, None if they differ."""
    return facts(name).native_size


def require_split(options: DatasetOptions, split: str) -> None:
    """Raise UsageFault unless the data set has the split."""
    if split not in options.splits:
        known = ", ".join(options.splits)
        raise UsageFault(f"{options.title} has no split {split!r}. It has: {known}.", next="segbench data list")


def member_path(archive: Archive, member: str) -> str | None:
    """Return the path of an archive member inside the data set's folder, or None if it is not wanted."""
    match = re.fullmatch(archive.members, member)
    return match.group(1) if match else None
