"""From what a user types for a checkpoint to a file: a path, an address, the Hugging Face Hub, or a registered name."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from segbench.core.checksums import remove_with_record
from segbench.core.download import RetryPolicy, fetch
from segbench.core.errors import MissingFault, UsageFault, first_line
from segbench.core.offline import hub_offline, hub_quiet, offline, root_cause
from segbench.core.progress import Count, ignore
from segbench.data.places import cache_root

from .find import Note, fetch_checkpoint, find_checkpoint
from .published import HUB_FILES, PublishedCheckpoint, published_for

HUB = "hf:"
_DIGEST = re.compile(r"-([0-9a-f]{8,64})\.[a-z]+$")
_CHANGED = "download.openmmlab.com"  # its newer files were changed after they were named
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class Source:
    """A checkpoint's file on this machine.

    Attributes:
        path: the file.
        text: what was typed.
        published: what is published of it; None if nothing is known.
        origin: where it came from, for the record; empty for a file of the user's.
        note: what should be known of it, one sentence; empty if nothing.
    """

    path: Path
    text: str
    published: PublishedCheckpoint | None
    origin: str = ""
    note: str = ""


def find_source(
    text: str, *, progress: Count = ignore, note: Note | None = None, policy: RetryPolicy | None = None
) -> Source:
    """The file of what was typed, fetched if it is not here.

    Args:
        text: a path, ``http://..``, ``https://..``, ``hf:ORG/NAME[/FILE][@REVISION]`` or a registered name.
        progress: of a download from an address.
        note: told one sentence where a download must wait.
        policy: retries and timeouts of a download.

    Raises:
        MissingFault: there is no such file, offline, not to be had, or another file than its name says.
        UsageFault: it is none of all that.
        RunFault: no room on the disk.
    """
    if text.startswith(HUB):
        return _from_hub(text, progress, note, policy)
    if urlsplit(text).scheme.lower() in ("http", "https"):
        return _from_address(text, progress, note, policy)
    if "://" in text:
        raise UsageFault(
            f"{text} is no address that is fetched: http, https and hf:ORG/NAME are.", next="segbench eval --help"
        )
    path, published = find_checkpoint(text, note=note)
    origin = published.name if published is not None and text == published.name else ""
    return Source(path, text, published, origin)


def _from_address(text: str, progress: Count, note: Note | None, policy: RetryPolicy | None) -> Source:
    published = published_for(file_name=unquote(urlsplit(text).path))
    if published is not None and text in published.urls:
        path = fetch_checkpoint(published, progress=progress, note=note, policy=policy)
        return Source(path, text, published, text)
    name = PurePosixPath(unquote(urlsplit(text).path)).name
    if not name:
        raise UsageFault(f"{text} names no file.", next="segbench eval --help")
    path = cache_root() / "checkpoints" / hashlib.sha256(text.encode()).hexdigest()[:12] / name
    again = f"segbench eval --checkpoint {text}"
    if not path.is_file() and (switch := offline()):
        raise MissingFault(
            f"{name} is not here and {switch} is set: fetch {text} on a connected machine and copy it to {path}.",
            next=f"segbench eval --checkpoint {path}",
        )
    sha256 = fetch([text], path, progress=progress, policy=policy or RetryPolicy(), next=again)
    digest = _DIGEST.search(name)
    said = ""
    if digest is not None and not sha256.startswith(digest[1]):
        if urlsplit(text).hostname != _CHANGED:
            remove_with_record(path)
            raise MissingFault(
                f"{name} has SHA-256 {sha256}, which does not begin with the {digest[1]} of its name: it was removed.",
                next=again,
            )
        said = f"The SHA-256 of {name} begins {sha256[:8]}, not as its name says; its project changes newer files."
    return Source(path, text, published_for(file_name=name, sha256=sha256), text, said)


def _from_hub(text: str, progress: Count, note: Note | None, policy: RetryPolicy | None) -> Source:
    place, _, revision = text.removeprefix(HUB).partition("@")
    parts = place.split("/")
    name, file = "/".join(parts[:2]), "/".join(parts[2:])
    if not _HUB_NAME.fullmatch(name):
        raise UsageFault(f"{text!r} is not hf:ORG/NAME, with a @REVISION if need be.", next="segbench eval --help")
    published = published_for(file_name=f"models--{name.replace('/', '--')}/model.safetensors")
    if published is not None and not file and not revision:
        path = fetch_checkpoint(published, progress=progress, note=note, policy=policy)
    else:
        path = _download(name, [file] if file else list(HUB_FILES), revision or None, note)
    # The cache of the hub calls the folder of a file by the commit that it was taken from.
    commit = path.parts[path.parts.index("snapshots") + 1] if "snapshots" in path.parts else revision
    return Source(path, text, published if not file and not revision else None, f"{HUB}{place}@{commit}")


def _download(name: str, files: list[str], revision: str | None, note: Note | None) -> Path:
    """The first of these files that a repository has, from the cache or the hub."""
    if note is not None and not offline():
        note(f"asks the Hugging Face Hub for {name}")
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    again = f"segbench eval --checkpoint {HUB}{name}" + (f"@{revision}" if revision else "")
    try:
        for file in files:
            try:
                with hub_offline() if offline() else hub_quiet():
                    return Path(hf_hub_download(name, file, revision=revision, local_files_only=bool(offline())))
            except LocalEntryNotFoundError:
                if not offline() or file == files[-1]:
                    raise
            except EntryNotFoundError:
                continue
    except GatedRepoError as error:
        raise MissingFault(
            f"The repository {name} wants a licence to be accepted at https://huggingface.co/{name}, and HF_TOKEN set.",
            next=again,
        ) from error
    except RevisionNotFoundError as error:
        raise MissingFault(f"The repository {name} has no revision {revision!r}.", next=again) from error
    except RepositoryNotFoundError as error:
        raise MissingFault(f"The Hugging Face Hub has no public repository {name}.", next=again) from error
    except HFValidationError as error:
        raise UsageFault(f"{name}: {first_line(error)}", next="segbench eval --help") from error
    except OSError as error:  # nobody answered, or it may not be asked
        switch = offline()
        reason = f"{switch} is set" if switch else f"the hub cannot be reached ({root_cause(error)})"
        command = f"hf download {name}" + (f" --revision {revision}" if revision else "")
        raise MissingFault(
            f"{name} is not in the cache {constants.HF_HUB_CACHE} and {reason}: on a connected machine run `{command}` "
            "and copy that cache here; HF_HUB_OFFLINE=1 then keeps this machine from asking.",
            next=again,
        ) from error
    raise MissingFault(f"The repository {name} has none of {', '.join(files)}.", next=again)
