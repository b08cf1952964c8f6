"""Get a data set: fetch its archive, unpack what is needed, check it. Free of torch."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from segbench.core.archive import extract
from segbench.core.download import Progress, fetch
from segbench.core.errors import MissingFault, RunFault
from segbench.core.spec import digest

from .facts import DatasetOptions, facts, member_path
from .places import cache_root
from .reader import locate
from .verify import Verified, verify


def download(
    name: str,
    root: Path,
    *,
    url: str | None = None,
    replace: bool = False,
    options: DatasetOptions | None = None,
    progress: Progress | None = None,
    verified: Callable[[int, int], None] | None = None,
) -> Verified:
    """Make the data set complete under ``root``/``name``; does nothing but check if it is there.

    The archive waits in the cache folder until it is unpacked and is removed then; its checksum stays.

    Args:
        name: of the data set.
        root: the data root.
        url: where to fetch the archive from instead, e.g. a mirror in-house.
        replace: move what is there aside (to ``NAME.before-N``) and begin anew.
        options: facts of the data set; None for the registered ones.
        progress: called with (bytes so far, bytes in all or None).
        verified: called with (pairs read, pairs in all).

    Raises:
        UsageFault: unknown data set.
        MissingFault: needs a login, cannot be fetched, or is not what it should be.
        RunFault: no room on the disk.
    """
    options = options or facts(name)
    command = f"segbench data download {name}"
    archive = options.archives[0] if options.archives else None
    if archive is None:
        raise MissingFault(f"{options.title} cannot be fetched by the program. {options.obtain}")
    if locate(name, root) is not None and not replace:
        return verify(name, root, options=options, progress=verified)
    target = root / name
    source = url or archive.urls[0]
    # A mirror may pack the same files differently: the published checksum is that of the published file.
    sha256 = archive.checksums.get("sha256") if url is None else None
    path = cache_root() / "downloads" / f"{name}-{digest(source)}{PurePosixPath(source).suffix}"
    fetch(source, path, sha256=sha256, progress=progress, next=command)
    root.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=root))
    try:
        extract(
            path,
            staging / name,
            select=lambda member: member_path(archive, member),
            max_bytes=4 * options.size_bytes,
            next=command,
        )
        if target.exists():
            _move_aside(target, command)
        (staging / name).rename(target)
    except MissingFault:  # the same archive would fail again
        path.with_name(path.name + ".sha256").unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    path.unlink()
    return verify(name, root, options=options, progress=verified)


def _move_aside(folder: Path, command: str) -> None:
    if not any(folder.iterdir()):
        folder.rmdir()
        return
    number = 1
    while (aside := folder.with_name(f"{folder.name}.before-{number}")).exists():
        number += 1
    try:
        folder.rename(aside)
    except OSError as error:
        raise RunFault(f"{folder} cannot be moved aside: {error.strerror}.", next=command) from error
