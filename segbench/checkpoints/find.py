"""Published checkpoints on this machine: whether one is here, and fetching it. Free of torch.

For whoever takes a checkpoint by name: `find_checkpoint` turns what a user typed (a path or a registered name) into a
file, which it fetches if need be, and into what is published of it. `fetch_checkpoint` is the same for a checkpoint
of the table, `local_path` only looks.
"""

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from segbench.core import atomic
from segbench.core.disk import disk_fault
from segbench.core.download import RetryPolicy, fetch
from segbench.core.errors import Busy, MissingFault, RunFault, UsageFault
from segbench.core.hashing import file_sha256
from segbench.core.offline import hub_quiet, offline, root_cause
from segbench.core.progress import Count, ignore
from segbench.data.places import cache_root

from .published import HUB_FILES, PublishedCheckpoint, checkpoint, published_for

Note = Callable[[str], None]
_WAIT_SECONDS = 3600.0  # a process that finds another one at work
_FILES = (".pth", ".pt", ".bin", ".ckpt", ".safetensors")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def local_path(published: PublishedCheckpoint) -> Path | None:
    """The file of a checkpoint if it is on this machine; nothing is asked of the network, nothing is checked."""
    if not published.hub:
        path = _folder(published) / published.file_name
        return path if path.is_file() else None
    from huggingface_hub import try_to_load_from_cache

    found = [try_to_load_from_cache(published.hub, name) for name in HUB_FILES]
    return next((Path(path) for path in found if isinstance(path, str)), None)


def fetch_checkpoint(
    published: PublishedCheckpoint,
    *,
    progress: Count = ignore,
    note: Note | None = None,
    policy: RetryPolicy | None = None,
) -> Path:
    """The file of a checkpoint, fetched if it is not here; its checksum is proven in either case.

    A file of an address goes into the cache folder, one of the Hugging Face Hub into the hub's own cache. The SHA-256
    that was seen first is kept, and later ones are held to it. Several processes may call this at once.

    Args:
        published: the checkpoint.
        progress: of a download from an address.
        note: told one sentence where something is to be known, e.g. that another process is at work, or that the
            digest is not the one that the file's name gives and need not be.
        policy: retries and timeouts of a download.

    Raises:
        MissingFault: offline and not here, not to be had, or another file than the published one.
        RunFault: no room on the disk, or another process has been fetching it for an hour.
    """
    say = note or _keep_quiet
    path = local_path(published)
    if path is None:
        if switch := offline():
            again = f"{download_command(published.name)}, on a connected machine"
            raise MissingFault(lacking(published, switch), next=again)
        with _turn(published, say):
            path = local_path(published) or _download(published, progress, policy or RetryPolicy())
            sha256 = _prove(published, path)
    else:
        sha256 = _prove(published, path)
    if published.sha256_prefix and not sha256.startswith(published.sha256_prefix):
        say(
            f"The SHA-256 of {path.name} begins {sha256[:8]}, not as its name says: {published.project} changes newer "
            "files after naming them, so it is not refused."
        )
    return path


def find_checkpoint(
    text: str, *, progress: Count = ignore, note: Note | None = None, policy: RetryPolicy | None = None
) -> tuple[Path, PublishedCheckpoint | None]:
    """What a user typed for a checkpoint: a path, or the name of a registered one, which is fetched.

    Args:
        text: as typed.
        progress: as in `fetch_checkpoint`, like the others.
        note: likewise.
        policy: likewise.

    Returns:
        The file, and what is published of it; None if nothing is.

    Raises:
        MissingFault: there is no such file, or the registered one cannot be had.
        UsageFault: it is neither a file nor the name of a registered checkpoint.
    """
    path = Path(text).expanduser()
    if path.is_dir():
        path = _in_folder(path)
    if path.is_file():
        return path, published_for(file_name=text)
    if path.suffix in _FILES or path.name != text:
        raise MissingFault(f"There is no file {text}.", next="segbench weights list")
    try:
        published = checkpoint(text)
    except UsageFault as error:
        raise UsageFault(f"There is no file {text}.", *error.faults, next=error.next) from None
    return fetch_checkpoint(published, progress=progress, note=note, policy=policy), published


def _in_folder(folder: Path) -> Path:
    """The weights in a folder as transformers saves it.

    Raises:
        MissingFault: there are none.
    """
    found = next((folder / name for name in HUB_FILES if (folder / name).is_file()), None)
    if found is not None:
        return found
    raise MissingFault(
        f"There is no file {folder}; it is a folder, which has none of {', '.join(HUB_FILES)}.",
        next="segbench eval --checkpoint FOLDER/FILE",
    )


def known_sha256(published: PublishedCheckpoint) -> str:
    """SHA-256 of the checkpoint's file as it was first seen on this machine; empty if it is not here."""
    path = local_path(published)
    return "" if path is None else _recorded(published, path)


def lacking(published: PublishedCheckpoint, switch: str) -> str:
    """One sentence: what is not here, how it is got and where it belongs, as ``switch`` forbids the network."""
    what = f"the file {_folder(published) / published.file_name}"
    if published.hub:
        from huggingface_hub import constants

        what = f"the folder {Path(constants.HF_HUB_CACHE) / ('models--' + published.hub.replace('/', '--'))}"
    return (
        f"{published.name} is not here and {switch} is set: on a connected machine run "
        f"`{download_command(published.name)}`, and copy {what} here."
    )


def download_command(*names: str) -> str:
    """The command that gets checkpoints."""
    return " ".join(("segbench weights download", *names))


def _download(published: PublishedCheckpoint, progress: Count, policy: RetryPolicy) -> Path:
    if published.hub:
        return _download_from_hub(published)
    path = _folder(published) / published.file_name
    fetch(published.urls, path, policy=policy, progress=progress, next=download_command(published.name))
    return path


def _download_from_hub(published: PublishedCheckpoint) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    last: Exception | None = None
    for name in HUB_FILES:
        try:
            with hub_quiet():
                return Path(hf_hub_download(published.hub, name))
        except LocalEntryNotFoundError as error:  # nobody answered
            last = error
            break
        except EntryNotFoundError as error:
            last = error
        except OSError as error:
            last = error
            break
    raise MissingFault(
        f"{published.hub} cannot be had from the Hugging Face Hub: {root_cause(last or OSError())}",
        next=download_command(published.name),
    ) from last


def _prove(published: PublishedCheckpoint, path: Path) -> str:
    """SHA-256 of the file, which must be the one seen first, and the one that is published where that is known."""
    sha256 = file_sha256(path)
    known = _recorded(published, path)
    record = _record(published, path)
    wanted = ""
    if published.disowns(sha256):
        wanted = f"the published one begins with {published.sha256_prefix}"
        record.unlink(missing_ok=True)
    elif known and known != sha256:
        wanted = f"the one recorded in {record} (remove that to accept another file) is {known}"
    elif published.hub and _SHA256.fullmatch(path.resolve().name) and path.resolve().name != sha256:
        wanted = f"the hub's is {path.resolve().name}"
    if wanted:
        for each in {path.resolve(), path}:  # in the hub's cache a link, and what it points to
            each.unlink(missing_ok=True)
        raise MissingFault(
            f"{path.name} of {published.name} has SHA-256 {sha256}, {wanted}: it was removed.",
            next=download_command(published.name),
        )
    if not known:
        with contextlib.suppress(RunFault):  # a cache that cannot be written to is still good to read
            atomic.write_text(record, f"{sha256}  {path.name}\n")
    return sha256


def _folder(published: PublishedCheckpoint) -> Path:
    """Where a checkpoint's file lies, or of one of the hub what is remembered of it."""
    return cache_root() / "weights" / published.name


def _record(published: PublishedCheckpoint, path: Path) -> Path:
    """Where the SHA-256 that was seen first stands; `core.download.fetch` keeps it there too."""
    return _folder(published) / f"{path.name}.sha256"


def _recorded(published: PublishedCheckpoint, path: Path) -> str:
    record = _record(published, path)
    return record.read_text(encoding="utf-8").partition(" ")[0] if record.is_file() else ""


@contextlib.contextmanager
def _turn(published: PublishedCheckpoint, say: Note) -> Iterator[None]:
    """One process at a time; a second one waits, and says so."""
    folder, again = _folder(published), download_command(published.name)
    lock = FileLock(folder / ".wait")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            say(f"Another process is fetching {published.name}; waiting for it.")
            lock.acquire(timeout=_WAIT_SECONDS)
    except Timeout:
        raise Busy(f"Another process has been fetching {published.name} for an hour.", next=again) from None
    except OSError as error:
        where = "set SEGBENCH_CACHE to a folder that can be written to"
        raise disk_fault(error, folder, kept="nothing was fetched", next=where) from error
    try:
        yield
    finally:
        lock.release()


def _keep_quiet(_: str) -> None:
    pass
