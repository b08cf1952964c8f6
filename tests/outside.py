"""An installed package that is not segbench: what ``pip install --target`` leaves in a folder."""

from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent


def install(folder: Path, name: str, modules: Mapping[str, str], groups: Mapping[str, Mapping[str, str]]) -> Path:
    """Write a package with its metadata; the folder then only has to be on ``sys.path``.

    Args:
        folder: of installed packages.
        name: of the distribution.
        modules: file below ``folder`` to its text.
        groups: entry-point group to names and what they point to.
    """
    for path, text in modules.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(text), encoding="utf-8")
        for parent in file.relative_to(folder).parents[:-1]:
            (folder / parent / "__init__.py").touch()
    about = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
    lines = []
    for group, entries in groups.items():
        lines += [f"[{group}]", *(f"{entry} = {value}" for entry, value in entries.items()), ""]
    (about / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
    return folder
