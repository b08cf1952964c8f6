"""Fetch published checkpoints: the local file, its download, and its checksum. Free of torch.

Files with addresses are kept in the cache folder, those of the Hugging Face Hub in the hub's own cache. The SHA-256 of
the first download is recorded, and later files are held to it.
"""

import contextlib
import re
from pathlib import Path

from segbench.core.atomic import guarded
from segbench.core.checksums import ChecksumMismatch, record_sha256, recorded_sha256, verify_checksums
from segbench.core.download import RetryPolicy
from segbench.core.errors import MissingFault, RunFault
from segbench.core.offline import offline
from segbench.core.progress import SILENT, Observer
from segbench.core.published_file import PublishedFile, fetch_published
from segbench.data.places import cache_root

from . import hub
from .published import HUB_FILES, PublishedCheckpoint

_POLICY = RetryPolicy()
_SHA256 = re.compile(r"[0-9a-f]{64}")


def local_path(published: PublishedCheckpoint) -> Path | None:
    """Return the file of a checkpoint if it is on this machine; it is not verified, and the network is not used."""
    if published.hub:
        return hub.cached(published.hub, HUB_FILES)
    path = _folder(published) / published.file_name
    return path if path.is_file() else None


def fetch_checkpoint(
    published: PublishedCheckpoint, *, observer: Observer = SILENT, policy: RetryPolicy = _POLICY
) -> Path:
    """Return the verified file of a checkpoint, downloaded if it is not there.

    Several processes may call this at once.

    Args:
        published: the checkpoint.
        observer: told the bytes of a download, that another process is downloading the file, and that its digest is
            not the one in its name if it need not be.
        policy: retries and timeouts of a download.

    Raises:
        MissingFault: it is not there and cannot be downloaded, or it is not the published file and was removed.
        RunFault: the disk is full, or another process has been downloading it for an hour.
    """
    command = download_command(published.name)
    if local_path(published) is None and (switch := offline()):
        raise MissingFault(_missing(published, switch), next=f"{command}, on a connected machine")
    prefix = published.sha256_prefix
    checksums = {"sha256": prefix} if prefix and published.digest == "trusted" else {}
    if published.hub:
        path = local_path(published) or hub.download(published.hub, HUB_FILES, command=command, next=command)
        _verify_blob(published, path)
    else:
        file = PublishedFile(published.file_name, published.urls, checksums)
        path = fetch_published(file, _folder(published), observer=observer, policy=policy, next=command)
    sha256 = known_sha256(published) or _record(published, path)
    if prefix and not sha256.startswith(prefix):
        observer.note(
            f"The SHA-256 of {path.name} begins {sha256[:8]}, not as its name says: {published.project} changes newer "
            "files after naming them, so it is not refused."
        )
    return path


def known_sha256(published: PublishedCheckpoint) -> str:
    """Return the recorded SHA-256 of the checkpoint's file; empty if it is not here or was never verified."""
    path = local_path(published)
    return "" if path is None else recorded_sha256(_folder(published) / path.name)


def download_command(*names: str) -> str:
    """Return the command that downloads checkpoints."""
    return " ".join(("segbench weights download", *names))


def _verify_blob(published: PublishedCheckpoint, path: Path) -> None:
    """Verify a file in the hub's cache, where files are links to blobs, which large files name by their SHA-256.

    Raises:
        MissingFault: it is another file, and was removed.
    """
    blob, reason = path.resolve(), ""
    try:
        sha256 = verify_checksums(path, {}, path=_folder(published) / path.name)
    except ChecksumMismatch as error:
        reason = str(error)
    else:
        if _SHA256.fullmatch(blob.name) and blob.name != sha256:
            reason = f"{path.name} has SHA-256 {sha256}, the hub's is {blob.name}"
    if reason:
        for each in {blob, path}:
            each.unlink(missing_ok=True)
        raise MissingFault(f"{published.name}: {reason}: it was removed.", next=download_command(published.name))


def _record(published: PublishedCheckpoint, path: Path) -> str:
    """Record the SHA-256 of a file that was not downloaded by segbench, if the cache can be written to; return it."""
    target = _folder(published) / path.name
    sha256 = verify_checksums(path, {}, path=target)
    with contextlib.suppress(RunFault), guarded(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        record_sha256(target, sha256)
    return sha256


def _missing(published: PublishedCheckpoint, switch: str) -> str:
    """Return a sentence on how to get a file on another machine and where it belongs."""
    what = f"the file {_folder(published) / published.file_name}"
    if published.hub:
        from huggingface_hub import constants

        what = f"the folder {Path(constants.HF_HUB_CACHE) / ('models--' + published.hub.replace('/', '--'))}"
    return (
        f"{published.name} is not here and {switch} is set: on a connected machine run "
        f"`{download_command(published.name)}`, and copy {what} here."
    )


def _folder(published: PublishedCheckpoint) -> Path:
    """Return the folder of a checkpoint's file, or of the record of one in the hub's cache."""
    return cache_root() / "weights" / published.name
