"""Discovery of personal recipes: the folders where they may lie, and the files in them."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from platformdirs import user_config_path

ENVIRONMENT = "SEGBENCH_RECIPES"
SHARED = "readings.yaml"  # what the tables of a paper share
CLAIMS = "claims.yaml"  # sentences of a paper that can be checked
RELEASED = "released.yaml"  # weights that its authors released

_BESIDE = (SHARED, CLAIMS, RELEASED)
_MARK = re.compile(r"^(schema|table|paper):", flags=re.MULTILINE)


def personal_folders(extra_folders: Sequence[Path] = (), *, without: Path | None = None) -> tuple[Path, ...]:
    """Return the folders of personal recipes, each once; of two tables of one name the first counts.

    They are ``extra_folders``, those of the environment variable SEGBENCH_RECIPES (whether they exist or not),
    ``recipes`` in the user's configuration folder, and ``recipes`` in the current directory.

    Args:
        extra_folders: such as those of installed packages.
        without: a folder to leave out, that of the recipes that come with segbench.
    """
    named = [Path(entry) for entry in os.environ.get(ENVIRONMENT, "").split(os.pathsep) if entry]
    usual = [user_config_path("segbench", appauthor=False) / "recipes", Path("recipes")]
    found: dict[Path, Path] = {}
    for folder in (*extra_folders, *named, *(folder for folder in usual if folder.is_dir())):
        found.setdefault(folder.resolve(), folder)
    if without is not None:
        found.pop(without.resolve(), None)
    return tuple(found.values())


def personal_files(folder: Path) -> Iterator[tuple[Path, Path | None, list[Path]]]:
    """Yield every folder with recipes at or below ``folder``: itself, its shared file if any, and its tables."""
    by_folder: dict[Path, list[Path]] = {}
    for path in sorted(folder.rglob("*.yaml")):
        if path.is_file() and _is_recipe(path):
            by_folder.setdefault(path.parent, []).append(path)
    for place, paths in by_folder.items():
        shared = [path for path in paths if path.name == SHARED]
        yield (
            place,
            shared[0] if shared else None,
            [path for path in paths if path.name not in (SHARED, CLAIMS, RELEASED)],
        )


def _is_recipe(path: Path) -> bool:
    """Return False for YAML files of other programs, which a folder of that name may hold too."""
    try:
        return _MARK.search(path.read_text(encoding="utf-8")) is not None
    except (OSError, UnicodeDecodeError):
        return False
