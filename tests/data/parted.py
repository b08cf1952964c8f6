"""A miniature CamVid in several archives, as larger data sets come: one a split, and one of the lists."""

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

from segbench.data.facts import Archive
from segbench.data.sets.camvid.options import Options
from tests.data.camvid_tree import tree_options, write_tree


def write_archives(folder: Path) -> dict[str, Path]:
    """Archive file name to its path: ``train.zip``, ``val.tar``, ``test.tgz`` and ``lists.zip``."""
    tree = write_tree(folder / "tree", layout="segnet")
    files = {path.relative_to(tree).as_posix(): path.read_bytes() for path in sorted(tree.rglob("*.*"))}
    found = {}
    for split, name in (("train", "train.zip"), ("val", "val.tar"), ("test", "test.tgz"), ("", "lists.zip")):
        ending = f"{split}/", f"{split}annot/"
        members = {
            path: data for path, data in files.items() if path.startswith(ending) or (not split and "/" not in path)
        }
        found[name] = pack(folder / name, {f"Camera/{path}": data for path, data in members.items()})
    return found


def pack(path: Path, members: dict[str, bytes]) -> Path:
    """A zip, tar or tgz by its name."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as file:
            for name, data in members.items():
                file.writestr(name, data)
        return path
    with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w") as file:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return path


def parted_options(archives: dict[str, Path], site: str = "http://127.0.0.1:9", **changes: object) -> Options:
    """Facts of it; ``test`` is optional. Of ``train.zip`` size and digest are published, of ``val.tar`` the MD5."""

    def fact(name: str, splits: tuple[str, ...], **more: object) -> Archive:
        return Archive(name=name, urls=(f"{site}/{name}",), members=r"Camera/(.+\.(?:png|txt))", splits=splits, **more)  # type: ignore[arg-type]

    train, val = archives["train.zip"].read_bytes(), archives["val.tar"].read_bytes()
    facts = (
        fact("lists.zip", ()),
        fact("train.zip", ("train",), size_bytes=len(train), checksums={"sha256": hashlib.sha256(train).hexdigest()}),
        fact("val.tar", ("val",), checksums={"md5": hashlib.md5(val).hexdigest()}),
        fact("test.tgz", ("test",)),
    )
    return tree_options().model_copy(update={"archives": facts, "optional": ("test",), **changes})
