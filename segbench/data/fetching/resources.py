"""Small published files that a reading needs and segbench may not pass on, kept in the cache folder."""

from dataclasses import dataclass
from pathlib import Path

from segbench.core.download import RetryPolicy
from segbench.core.progress import SILENT, Observer
from segbench.core.published_file import PublishedFile, fetch_published
from segbench.data.places import cache_root

_WAIT_SECONDS = 60.0  # many trainings may start at once on one cache
_IMPATIENT = RetryPolicy(attempts=2)  # of a run that may be started offline
_SEMISEG = (
    "https://raw.githubusercontent.com/Shathe/SemiSeg-Contrastive/dc53c6da64f91c1ebce320f6e2ce3cc9f3df7414/splits"
)


@dataclass(frozen=True)
class Resource:
    """Files that belong together.

    Attributes:
        name: as in ``segbench data download NAME``.
        title: for messages.
        licence: one sentence.
        files: all of them, with their paths in the resource's folder and their SHA-256.
    """

    name: str
    title: str
    licence: str
    files: tuple[PublishedFile, ...]

    @property
    def folder(self) -> Path:
        """Folder of the files once they have been downloaded."""
        return cache_root() / "resources" / self.name


def _split(path: str, sha256: str, size_bytes: int) -> PublishedFile:
    return PublishedFile(path, (f"{_SEMISEG}/{path}",), {"sha256": sha256}, size_bytes)


RESOURCES: dict[str, Resource] = {
    "semiseg-splits": Resource(
        name="semiseg-splits",
        title="labelled subsets of SemiSeg-Contrastive",
        licence="Apache-2.0; cite Alonso et al., ICCV 2021.",
        files=(
            _split("city/split_0.pkl", "24c65ab25d7d788b5763530a5f06926499f35c802940d046eb3eebc75aab6ded", 23957),
            _split("city/split_1.pkl", "6ee835756157340648f6fb1848ab6d1773e23008d4a066bba8ca3d5fb690a899", 23959),
            _split("city/split_2.pkl", "53632cb774098b79ce9e5d1aa5b0f229a5d7825708f39eca1c4abb188e5a9d24", 23957),
            _split("voc/split_0.pkl", "28a995226b364935068ef20dd96d9637530039ba84ce43f02c0e86a32f1a7940", 84813),
            _split("voc/split_1.pkl", "7d0266db9bd1dc96f64bc5b90cc01bb67652284c5bd88d47f3da470724c2f0cd", 84813),
            _split("voc/split_2.pkl", "2b35b6049e2afbce321fb2a06821139eb4b6aa6021772960e995be7f17f07d36", 84813),
        ),
    )
}


def get(name: str, path: str, *, policy: RetryPolicy = _IMPATIENT, observer: Observer = SILENT) -> Path:
    """Return the path of one file of a resource, downloaded if it is not there.

    Args:
        name: of the resource.
        path: of the file in the resource's folder.
        policy: retries of a download.
        observer: told of a download.

    Raises:
        MissingFault: it is not there and cannot be downloaded, or is not the published file.
        RunFault: the cache folder cannot be written to, or another process has been downloading it for a minute.
    """
    resource = RESOURCES[name]
    (file,) = [file for file in resource.files if file.path == path]
    again = f"segbench data download {name}"
    return fetch_published(
        file, resource.folder, policy=policy, observer=observer, wait_seconds=_WAIT_SECONDS, next=again
    )


def get_all(name: str, *, observer: Observer = SILENT) -> Path:
    """Return the folder of a resource after downloading what is not there.

    Raises:
        MissingFault: a file cannot be downloaded, or is not the published one.
        RunFault: the cache folder cannot be written to.
    """
    for file in RESOURCES[name].files:
        get(name, file.path, policy=RetryPolicy(), observer=observer)
    return RESOURCES[name].folder
