"""Pretrained backbone weights: look up the published file that fits, fetch it, load it strictly.

The table of files is data (``backbone_weights.yaml``). Looking up and fetching need no torch. Files of the Hugging Face
Hub are kept in the hub's cache, those with addresses, and those that a user brought, in the folder of ``torch.hub``. No
code in a file is ever run.
"""

import os
import shutil
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from segbench.core import atomic, registry
from segbench.core.errors import InvalidFault, MissingFault
from segbench.core.hashing import file_sha256
from segbench.core.offline import offline
from segbench.core.published_file import PublishedFile, fetch_published
from segbench.core.spec import Choice
from segbench.core.to_fetch import ToFetch

from . import hub
from .loading import LoadReport, load_strictly

if TYPE_CHECKING:
    from torch import Tensor, nn

FILE_NAME = "model.safetensors"
_SUFFIXES = (".safetensors", ".pth")  # of files that a user brought
RANDOM = "with --set weights.backbone=random (recorded as a deviation)"


@dataclass(frozen=True)
class PublishedWeights:
    """A published file, and the mapping of its tensors to the network's.

    Attributes:
        name: of the repository, or of the file if it has addresses.
        drop: tensors to leave out, as in `loading.match`.
        rename: prefixes of its names, and those in the network.
        fresh: prefixes of tensors that it lacks, which keep their initial values.
        urls: addresses; empty for a repository of the hub.
        sha256: the first digits of its checksum, if it has addresses.
        note: on the addresses.
        classifier: prefix of the classifier's tensors, and theirs in the decoder; None if the file has none that fits.
    """

    name: str
    drop: tuple[str, ...] = ()
    rename: tuple[tuple[str, str], ...] = ()
    fresh: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()
    sha256: str = ""
    note: str = ""
    classifier: tuple[str, str] | None = None

    def renamed(self, name: str) -> str:
        """Return the network's name of a tensor of the file."""
        for theirs, ours in self.rename:
            if name.startswith(theirs):
                return ours + name.removeprefix(theirs)
        return name


@dataclass(frozen=True)
class ListedWeights:
    """A line of the table.

    Attributes:
        weights: the data that the network was trained on, e.g. ``imagenet``.
        backbone: the network, with the options that differ from its defaults.
        published: its file.
    """

    weights: str
    backbone: Choice
    published: PublishedWeights


def published_weights(backbone: Choice, *, weights: str, file: str | None = None) -> PublishedWeights:
    """Return the published file of exactly the network that ``backbone`` describes.

    Args:
        backbone: registered name and options.
        weights: the data that it was trained on, e.g. ``imagenet``.
        file: its name, or the part of it after the last ``/``; None for the first one that fits.

    Raises:
        MissingFault: no published file fits, or none of this name.
    """
    table = _table()
    try:
        wanted = registry.chosen("backbone", backbone).model_dump()
    except ValidationError as error:
        raise InvalidFault(f"The options of backbone {backbone.name!r} are invalid.", next="segbench list") from error
    fitting = []
    for group in table.get(weights, []):
        if group["backbone"] != backbone.name:
            continue
        free = set(group.get("free", ()))
        kept = {key: value for key, value in wanted.items() if key not in free}
        for entry in group["files"]:
            offered = registry.options_of("backbone", backbone.name)(**entry["options"]).model_dump()
            if kept == {key: value for key, value in offered.items() if key not in free}:
                fitting.append(_published(group, entry))
    for each in fitting:
        if file in (None, each.name, each.name.rpartition("/")[2]):
            return each
    shown = ", ".join(f"{key} {value}" for key, value in backbone.options.items()) or "its defaults"
    if fitting:
        raise MissingFault(
            f"No {weights} weights {file} are known for backbone {backbone.name!r} with {shown}; known: "
            f"{', '.join(each.name for each in fitting)}.",
            next="the same command with --set weights.file=null, which takes the first of them (a deviation)",
        )
    raise MissingFault(
        f"No {weights} weights are known for backbone {backbone.name!r} with {shown}.",
        next=f"the same command {RANDOM}",
    )


def listed_weights() -> tuple[ListedWeights, ...]:
    """Return all published files of the table; one that fits several networks is repeated for each."""
    return tuple(
        ListedWeights(weights, Choice(name=group["backbone"], options=file["options"]), _published(group, file))
        for weights, groups in _table().items()
        for group in groups
        for file in group["files"]
    )


def weights_need(backbone: Choice, weights: str, *, file: str | None = None) -> ToFetch | None:
    """Return what a run still has to download; None if nothing."""
    if weights == "random":
        return None
    try:
        published = published_weights(backbone, weights=weights, file=file)
    except MissingFault as error:
        return ToFetch(error.faults[0], error.next)
    if local_weights(published):
        return None
    if switch := offline():
        return ToFetch(f"{weights} weights {published.name}, which are not here, and {switch} is set")
    doubt = f" if possible: {published.note}" if published.note else ""
    return ToFetch(f"{weights} weights {published.name}   will be downloaded{doubt}")


def fetch_weights(published: PublishedWeights) -> Path:
    """Return the local path of the file, downloaded if it is not there.

    Raises:
        MissingFault: it is not there and cannot be downloaded, or is not the published file and was removed.
    """
    cached = local_weights(published)
    if cached is not None and not published.urls:
        return cached
    folder, again = _torch_hub(), f"the same command {RANDOM}"
    if cached is None and (switch := offline()):
        from huggingface_hub import constants

        raise MissingFault(
            f"The weights {published.name} are not in the cache {folder if published.urls else constants.HF_HUB_CACHE} "
            f"and {switch} is set; on a connected machine run `segbench weights download {published.name}` and copy "
            "that cache here, or bring the file alone and add --from FILE here.",
            next=again,
        )
    if not published.urls:
        command = f"segbench weights download {published.name}"
        return hub.download(published.name, (FILE_NAME,), command=command, next=again)
    file = PublishedFile(published.name, published.urls, {"sha256": published.sha256} if published.sha256 else {})
    try:
        return fetch_published(file, folder, next=again)
    except MissingFault as error:
        note = (f"{published.name}: {published.note}.",) if published.note else ()
        raise MissingFault(*error.faults, *note, next=error.next) from error


def local_weights(published: PublishedWeights) -> Path | None:
    """Return the local path of the file if it is on this machine; the network is not used."""
    if not published.urls and (found := hub.cached(published.name, (FILE_NAME,))) is not None:
        return found
    return next((path for path in _brought(published) if path.exists()), None)


def take_weights(listed: ListedWeights, file: Path) -> Path:
    """Copy a file that a user brought to where downloads are kept, after the network has taken all its tensors.

    Returns:
        Path of the copy.

    Raises:
        MissingFault: there is no such file.
        InvalidFault: it is damaged, or not the published file, or does not fit the network.
    """
    from .unwrap import read_tensors

    if not file.is_file():
        raise MissingFault(f"There is no file {file}.", next=f"segbench weights list {listed.published.name}")
    published, sha256 = listed.published, file_sha256(file)
    if not sha256.startswith(published.sha256):
        raise InvalidFault(
            f"{file} is not {published.name}: its SHA-256 begins {sha256[:8]}, that of the published file "
            f"{published.sha256[:8]}.",
            next=f"segbench weights download {published.name}",
        )
    state = {published.renamed(name): tensor for name, tensor in read_tensors(file).items()}
    network = registry.implementation("backbone", listed.backbone.name, "network").build(
        registry.chosen("backbone", listed.backbone), align_corners=True
    )
    load_strictly(network, state, source=str(file), drop=published.drop, fresh=published.fresh)
    stored = next(path for path in _brought(published) if published.urls or path.suffix == _stored_suffix(file))
    stored.parent.mkdir(parents=True, exist_ok=True)
    with file.open("rb") as content:
        atomic.write(stored, lambda out: shutil.copyfileobj(content, out))
    return stored


def _brought(published: PublishedWeights) -> list[Path]:
    """Return the paths at which a file is looked for outside of the hub's cache."""
    if published.urls:
        return [_torch_hub() / published.name]
    return [_torch_hub() / (published.name.replace("/", "--") + suffix) for suffix in _SUFFIXES]


def _stored_suffix(file: Path) -> str:
    return _SUFFIXES[0] if file.suffix == _SUFFIXES[0] else _SUFFIXES[1]


def load_backbone_weights(
    backbone: "nn.Module",
    choice: Choice,
    *,
    weights: str,
    file: str | None = None,
    decoder: "nn.Module | None" = None,
) -> LoadReport | None:
    """Load published weights into a backbone, strictly, and the file's classifier into a decoder.

    Args:
        backbone: the network built from ``choice``.
        choice: its registered name and options.
        weights: ``random`` for nothing, otherwise e.g. ``imagenet``.
        file: as of `published_weights`.
        decoder: takes the file's classifier too; None leaves that out.

    Returns:
        What was loaded into the backbone; None for ``random``.

    Raises:
        MissingFault: there is no such file, or it cannot be downloaded.
        InvalidFault: the file is damaged or does not fit the network, or a classifier is wanted and it has none.
    """
    if weights == "random":
        return None
    from .unwrap import read_tensors

    published = published_weights(choice, weights=weights, file=file)
    path = fetch_weights(published)
    try:
        tensors = read_tensors(path)
    except InvalidFault as error:
        raise InvalidFault(*error.faults, next=f"rm {path}") from error
    if decoder is not None:
        _load_classifier(decoder, tensors, published)
    state = {published.renamed(name): tensor for name, tensor in tensors.items()}
    return load_strictly(
        backbone,
        state,
        source=published.name,
        drop=published.drop,
        fresh=published.fresh,
        sha256=file_sha256(path),
    )


def _load_classifier(decoder: "nn.Module", tensors: "dict[str, Tensor]", published: PublishedWeights) -> None:
    if published.classifier is None:
        fault = f"{published.name} has no classifier that a decoder could start from."
        raise InvalidFault(fault, next="the same command with --set weights.classifier=false")
    theirs, ours = published.classifier
    found = {ours + name.removeprefix(theirs): tensor for name, tensor in tensors.items() if name.startswith(theirs)}
    load_strictly(decoder, found, source=f"{published.name}, classifier")


def _torch_hub() -> Path:
    """Return the folder in which ``torch.hub`` keeps files of weights, possibly of other programs."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    home = Path(os.environ.get("TORCH_HOME") or caches / "torch")
    return home.expanduser() / "hub" / "checkpoints"


def _published(group: dict[str, Any], file: dict[str, Any]) -> PublishedWeights:
    """Return a file of a group of the table."""
    return PublishedWeights(
        file["name"],
        drop=tuple(group.get("drop", ())),
        rename=tuple(group.get("rename", {}).items()),
        fresh=tuple(group.get("fresh", ())),
        urls=tuple(file.get("urls", ())),
        sha256=file.get("sha256", ""),
        note=file.get("note", ""),
        classifier=tuple(group["classifier"]) if "classifier" in group else None,
    )


@cache
def _table() -> dict[str, Any]:
    text = resources.files("segbench.checkpoints").joinpath("backbone_weights.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)
