"""Work that some data sets need once their archives are unpacked: the optional ``finish`` of a reader module."""

from pathlib import Path

from segbench.core.progress import SILENT, Observer
from segbench.core.registry import implementation


def finish_dataset(name: str, folder: Path, *, observer: Observer = SILENT) -> None:
    """Run the data set's ``finish`` if its reader has one; it does nothing where it was done.

    Args:
        name: of the data set.
        folder: where it lies.
        observer: told how many label maps were made.
    """
    finish = getattr(implementation("dataset", name, "reader"), "finish", None)
    if finish is not None:
        count = observer.counter(f"{name}: masks", "masks")
        finish(folder, progress=lambda done: count(done, None))
