"""Find the file of a checkpoint: a path, an address, a repository of the Hugging Face Hub, or a registered name."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from segbench.core.checksums import remove_with_record
from segbench.core.download import RetryPolicy, fetch
from segbench.core.errors import MissingFault, UsageFault
from segbench.core.offline import offline
from segbench.core.progress import SILENT, Observer
from segbench.data.places import cache_root

from . import hub
from .fetch import fetch_checkpoint
from .published import HUB_FILES, PublishedCheckpoint, checkpoint, published_for

_HUB = "hf:"
_POLICY = RetryPolicy()
_DIGEST = re.compile(r"-([0-9a-f]{8,64})\.[a-z]+$")
_CHANGED = "download.openmmlab.com"  # its newer files were changed after they were named
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_SUFFIXES = (".pth", ".pt", ".bin", ".ckpt", ".safetensors")


@dataclass(frozen=True)
class CheckpointFile:
    """The file of a checkpoint on this machine.

    Attributes:
        path: of the file.
        text: as typed.
        published: the published checkpoint that it is; None if it is not known as one.
        origin: address, repository or name for the record; empty for a file of the user's.
        note: one sentence for the user; empty if there is none.
    """

    path: Path
    text: str
    published: PublishedCheckpoint | None
    origin: str = ""
    note: str = ""


def find_checkpoint(text: str, *, observer: Observer = SILENT, policy: RetryPolicy = _POLICY) -> CheckpointFile:
    """Return the file that a user named, downloaded if it is not on this machine.

    Args:
        text: a path, ``http://..``, ``https://..``, ``hf:ORG/NAME[/FILE][@REVISION]`` or a registered name.
        observer: told about a download.
        policy: retries and timeouts of a download.

    Raises:
        MissingFault: there is no such file, it cannot be downloaded, or its digest is not the one in its name.
        UsageFault: it is none of these.
        RunFault: the disk is full.
    """
    if text.startswith(_HUB):
        return _from_hub(text, observer, policy)
    if urlsplit(text).scheme.lower() in ("http", "https"):
        return _from_address(text, observer, policy)
    if "://" in text:
        raise UsageFault(
            f"{text} cannot be downloaded: addresses are http, https or hf:ORG/NAME.", next="segbench eval --help"
        )
    path = Path(text).expanduser()
    if path.is_dir():
        path = _in_folder(path)
    if path.is_file():
        return CheckpointFile(path, text, published_for(file_name=text))
    if path.suffix in _SUFFIXES or path.name != text:
        raise MissingFault(f"There is no file {text}.", next="segbench weights list")
    try:
        published = checkpoint(text)
    except UsageFault as error:
        raise UsageFault(f"There is no file {text}.", *error.faults, next=error.next) from None
    path = fetch_checkpoint(published, observer=observer, policy=policy)
    return CheckpointFile(path, text, published, published.name)


def _in_folder(folder: Path) -> Path:
    """Return the weights in a folder of transformers.

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


def _from_address(text: str, observer: Observer, policy: RetryPolicy) -> CheckpointFile:
    published = published_for(file_name=unquote(urlsplit(text).path))
    if published is not None and text in published.urls:
        path = fetch_checkpoint(published, observer=observer, policy=policy)
        return CheckpointFile(path, text, published, text)
    name = PurePosixPath(unquote(urlsplit(text).path)).name
    if not name:
        raise UsageFault(f"{text} names no file.", next="segbench eval --help")
    path = cache_root() / "checkpoints" / hashlib.sha256(text.encode()).hexdigest()[:12] / name
    again = f"segbench eval --checkpoint {text}"
    if not path.is_file() and (switch := offline()):
        raise MissingFault(
            f"{name} is not here and {switch} is set: download {text} on a connected machine and copy it to {path}.",
            next=f"segbench eval --checkpoint {path}",
        )
    sha256 = fetch([text], path, progress=observer.counter(text, "bytes"), policy=policy, next=again)
    digest = _DIGEST.search(name)
    note = ""
    if digest is not None and not sha256.startswith(digest[1]):
        if urlsplit(text).hostname != _CHANGED:
            remove_with_record(path)
            raise MissingFault(
                f"{name} has SHA-256 {sha256}, which does not begin with the {digest[1]} of its name: it was removed.",
                next=again,
            )
        note = f"The SHA-256 of {name} begins {sha256[:8]}, not as its name says; its project changes newer files."
    return CheckpointFile(path, text, published_for(file_name=name, sha256=sha256), text, note)


def _from_hub(text: str, observer: Observer, policy: RetryPolicy) -> CheckpointFile:
    place, _, revision = text.removeprefix(_HUB).partition("@")
    names = place.split("/")
    repository, file = "/".join(names[:2]), "/".join(names[2:])
    if not _HUB_NAME.fullmatch(repository):
        raise UsageFault(f"{text!r} is not hf:ORG/NAME, optionally with @REVISION.", next="segbench eval --help")
    published = published_for(file_name=f"models--{repository.replace('/', '--')}/model.safetensors")
    if file or revision:
        published = None
    if published is not None:
        path = fetch_checkpoint(published, observer=observer, policy=policy)
    else:
        if not offline():
            observer.note(f"asks the Hugging Face Hub for {repository}")
        again = f"segbench eval --checkpoint {_HUB}{repository}" + (f"@{revision}" if revision else "")
        path = hub.download(repository, [file] if file else HUB_FILES, revision=revision or None, next=again)
    # The hub's cache names the folder of a file by its commit.
    commit = path.parts[path.parts.index("snapshots") + 1] if "snapshots" in path.parts else revision
    return CheckpointFile(path, text, published, f"{_HUB}{place}@{commit}")
