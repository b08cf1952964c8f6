"""One line on the state of a data set, without opening an image. Free of torch."""

from pathlib import Path

from .facts import DatasetOptions, facts
from .reader import is_readable, locate, pairs


def data_status(name: str, root: Path, *, options: DatasetOptions | None = None) -> str:
    """``ready``, ``missing``, ``incomplete: n of m`` (whole pairs, of those there should be) or ``no reader yet``.

    Ready means that all files are there; whether they can be read is what ``segbench data verify`` finds out.

    Raises:
        UsageFault: the data set is not registered.
    """
    options = options or facts(name)
    if not is_readable(name):
        return "no reader yet"
    folder = locate(name, root)
    if folder is None:
        return "missing"
    found, complete = 0, True
    for split, accepted in options.splits.items():
        listed = pairs(name, folder, split)
        whole = sum(all(file.is_file() for file in pair.files) for pair in listed)
        found += whole
        complete &= whole in accepted and whole == len(listed)
    if complete:
        return "ready"
    expected = sum(accepted[0] for accepted in options.splits.values())
    return f"incomplete: {found:,} of {expected:,}" if found else "missing"
