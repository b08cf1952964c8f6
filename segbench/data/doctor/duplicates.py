"""Duplicate images in two splits, and the digest that is compared with the reference copy's."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from segbench.data.reader import Finding

from .case import Case
from .listing import Listing, split_pairs

# A publisher's own copy may hold a few images twice, which nobody can fix; mixed-up folders hold far more.
_PUBLISHED_SHARE = 1 / 200


def duplicate_images(listings: Sequence[Listing], case: Case) -> Iterator[Finding]:
    """Yield a finding for every image that two splits hold byte for byte; only files of equal size are read."""
    sums = _Sums()
    for first, second in split_pairs(listings):
        found = list(_equal(first, second, sums))
        smaller = min(len(first.pairs), len(second.pairs))
        many = len(found) > _PUBLISHED_SHARE * smaller
        for one, other in found:
            text = f"{other} ({second.split}) is byte for byte {one} ({first.split})"
            if many or one.name == other.name:
                yield Finding("fault", f"{text}: a score on either is meaningless.", case.replace_command, "leak")
            else:
                yield Finding("note", f"{text}; publishers' own copies contain such duplicates.", kind="twins")


def content_sha256(listings: Sequence[Listing]) -> str:
    """Return the SHA-256 of a ``sha256sum`` listing of ``./split/{images,labels}/NAME``, sorted bytewise by path."""
    named = {}
    for item in listings:
        for pair in item.pairs:
            named[f"./{item.split}/images/{pair.image.name}"] = pair.image
            if pair.label is not None:
                named[f"./{item.split}/labels/{pair.label.name}"] = pair.label
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        of_name = dict(zip(named, pool.map(_sha256, named.values()), strict=True))
    listing = "".join(f"{of_name[key]}  {key}\n" for key in sorted(of_name, key=os.fsencode))
    return hashlib.sha256(listing.encode()).hexdigest()


class _Sums(dict[Path, str]):
    """SHA-256 of files, each computed when first asked for."""

    def __missing__(self, path: Path) -> str:
        self[path] = _sha256(path)
        return self[path]


def _equal(first: Listing, second: Listing, sums: _Sums) -> Iterator[tuple[Path, Path]]:
    by_size: dict[int, list[Path]] = defaultdict(list)
    for pair in first.complete_pairs:
        by_size[first.stats[pair.image][0]].append(pair.image)
    for pair in second.complete_pairs:
        for candidate in by_size.get(second.stats[pair.image][0], []):
            if candidate != pair.image and sums[candidate] == sums[pair.image]:
                yield candidate, pair.image
                break


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
