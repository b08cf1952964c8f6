"""Packs tiny data sets as their public archives are packed; the same bytes every time."""

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

from segbench.data.facts import DatasetOptions, member_path

Members = dict[str, bytes]  # path inside the archive to content


def write_zip(path: Path, members: Members) -> Path:
    """A zip with an entry for every folder too, as most packers write them."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for folder in _folders(members):
            archive.writestr(zipfile.ZipInfo(f"{folder}/"), b"")
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return path


def write_tar(path: Path, members: Members) -> Path:
    """A tar, compressed if the name ends in ``gz``, with an entry for every folder too."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for folder in _folders(members):
            info = tarfile.TarInfo(folder)
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(info)
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    data = stream.getvalue()
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix.endswith("gz") else data)
    return path


def write_unpacked(folder: Path, options: DatasetOptions, archives: dict[str, Members]) -> Path:
    """What unpacking the wanted members of these archives leaves in the data set's folder."""
    wanted = {archive.name: archive for archive in options.archives}
    for name, members in archives.items():
        for member, data in members.items():
            place = member_path(wanted[name], member) if name in wanted else member
            if place is not None:
                (folder / place).parent.mkdir(parents=True, exist_ok=True)
                (folder / place).write_bytes(data)
    return folder


def without_checksums(options: DatasetOptions) -> DatasetOptions:
    """The facts with archives whose digests and sizes nobody has published: those of tiny archives differ."""
    unknown = {"checksums": {}, "size_bytes": None}
    return options.model_copy(update={"archives": tuple(one.model_copy(update=unknown) for one in options.archives)})


def _folders(members: Members) -> list[str]:
    return sorted({str(parent) for name in members for parent in list(Path(name).parents)[:-1]})
