"""Small published files that a reading needs and that are not ours to pass on: fetched once, kept in the cache."""

from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from segbench.core import atomic
from segbench.core.download import Manners, Progress, fetch
from segbench.core.errors import MissingFault, RunFault
from segbench.core.hashing import file_sha256
from segbench.data.places import cache_root

_WAIT_SECONDS = 60.0  # many trainings may start at once on one cache


@dataclass(frozen=True)
class ResourceFile:
    """One file.

    Attributes:
        path: inside the resource's folder and below its address.
        sha256: of the whole file, own computation.
        size_bytes: its size.
    """

    path: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Resource:
    """Files that belong together.

    Attributes:
        name: what ``segbench data download`` calls them.
        title: what they are.
        address: below which they lie, at one revision for ever.
        licence: one sentence.
        files: all of them.
    """

    name: str
    title: str
    address: str
    licence: str
    files: tuple[ResourceFile, ...]


RESOURCES: dict[str, Resource] = {
    "semiseg-splits": Resource(
        name="semiseg-splits",
        title="labelled subsets of SemiSeg-Contrastive",
        address="https://raw.githubusercontent.com/Shathe/SemiSeg-Contrastive/"
        "dc53c6da64f91c1ebce320f6e2ce3cc9f3df7414/splits",
        licence="Apache-2.0; cite Alonso et al., ICCV 2021.",
        files=(
            ResourceFile("city/split_0.pkl", "24c65ab25d7d788b5763530a5f06926499f35c802940d046eb3eebc75aab6ded", 23957),
            ResourceFile("city/split_1.pkl", "6ee835756157340648f6fb1848ab6d1773e23008d4a066bba8ca3d5fb690a899", 23959),
            ResourceFile("city/split_2.pkl", "53632cb774098b79ce9e5d1aa5b0f229a5d7825708f39eca1c4abb188e5a9d24", 23957),
            ResourceFile("voc/split_0.pkl", "28a995226b364935068ef20dd96d9637530039ba84ce43f02c0e86a32f1a7940", 84813),
            ResourceFile("voc/split_1.pkl", "7d0266db9bd1dc96f64bc5b90cc01bb67652284c5bd88d47f3da470724c2f0cd", 84813),
            ResourceFile("voc/split_2.pkl", "2b35b6049e2afbce321fb2a06821139eb4b6aa6021772960e995be7f17f07d36", 84813),
        ),
    )
}


def folder(name: str) -> Path:
    """Where a resource's files lie once they have been fetched."""
    return cache_root() / "resources" / name


def get(name: str, path: str, *, attempts: int = 2, progress: Progress | None = None) -> Path:
    """One file of a resource, fetched if it is not there; its checksum holds in either case.

    Args:
        name: of the resource.
        path: of the file inside it.
        attempts: tries of a download before giving up.
        progress: of a download.

    Raises:
        MissingFault: it is not there and cannot be fetched, or is not what it should be.
        RunFault: the cache cannot be written, or another process has been fetching it for a minute.
    """
    resource = RESOURCES[name]
    (wanted,) = [file for file in resource.files if file.path == path]
    place, again = folder(name) / path, f"segbench data download {name}"
    if place.is_file() and file_sha256(place) == wanted.sha256:
        return place
    with atomic.guarded(place):
        place.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(f"{place}.wait", timeout=_WAIT_SECONDS):
            url, sums, manners = f"{resource.address}/{path}", {"sha256": wanted.sha256}, Manners(attempts=attempts)
            fetch([url], place, checksums=sums, manners=manners, progress=progress, next=again)
    except MissingFault as error:
        raise MissingFault(*error.faults, f"Brought by hand, it belongs to {place}.", next=again) from error
    except Timeout:
        raise RunFault(f"Another process has been fetching {place} for a minute.", next=again) from None
    return place


def get_all(name: str, *, progress: Progress | None = None) -> Path:
    """Every file of a resource; returns its folder.

    Raises:
        MissingFault: one cannot be fetched, or is not what it should be.
        RunFault: the cache cannot be written.
    """
    for file in RESOURCES[name].files:
        get(name, file.path, attempts=5, progress=progress)
    return folder(name)
