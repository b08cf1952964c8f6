"""Pretrained backbone weights: which published file fits, fetching it, loading it strictly.

The table of files is data (``backbone_weights.yaml``). Looking up and fetching need no torch. A file is fetched with
``huggingface_hub`` (its cache, its environment variables) and read as safetensors; one with addresses of its own goes
where ``torch.hub`` keeps such files, and its tensors alone are read. Nothing in a file is ever executed.
"""

import os
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from segbench.core import registry
from segbench.core.download import fetch
from segbench.core.errors import InvalidFault, MissingFault, first_line
from segbench.core.hashing import file_sha256
from segbench.core.offline import hub_offline, hub_quiet, offline, root_cause
from segbench.core.spec import Choice
from segbench.core.to_fetch import ToFetch

from .loading import LoadReport, load_strictly

if TYPE_CHECKING:
    from torch import Tensor, nn

FILE_NAME = "model.safetensors"
RANDOM = "with --set weights.backbone=random (recorded as a deviation)"


@dataclass(frozen=True)
class PublishedWeights:
    """One published file and how its tensors become the network's.

    Attributes:
        name: of the repository, or of the file if it has addresses of its own.
        drop: which of its tensors are left out, as `loading.match` wants them.
        rename: beginnings of its names, and what stands in their place in the network.
        fresh: beginnings of the names of tensors that it lacks; they stay as they were drawn.
        urls: where the file lies; empty for a repository of the hub.
        sha256: the first digits of its checksum, if it has addresses.
        note: what is known of these.
    """

    name: str
    drop: tuple[str, ...] = ()
    rename: tuple[tuple[str, str], ...] = ()
    fresh: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()
    sha256: str = ""
    note: str = ""

    def renamed(self, name: str) -> str:
        """The network's name for a tensor of the file."""
        for theirs, ours in self.rename:
            if name.startswith(theirs):
                return ours + name.removeprefix(theirs)
        return name


@dataclass(frozen=True)
class ListedWeights:
    """One line of the table.

    Attributes:
        weights: what the network was trained on, e.g. ``imagenet``.
        backbone: the network, with the options that differ from its defaults.
        published: its file.
    """

    weights: str
    backbone: Choice
    published: PublishedWeights


def published_weights(backbone: Choice, *, weights: str, file: str | None = None) -> PublishedWeights:
    """The file whose network is exactly the one that ``backbone`` describes.

    Args:
        backbone: registered name and options.
        weights: what it was trained on, e.g. ``imagenet``.
        file: its name, or what follows the last ``/`` of it; None takes the first one that fits.

    Raises:
        MissingFault: no published file fits, or none of this name.
    """
    table = _table()
    try:
        wanted = registry.options_of("backbone", backbone.name)(**backbone.options).model_dump()
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
    """Every published file of the table; one that serves several networks stands there for each."""
    return tuple(
        ListedWeights(weights, Choice(name=group["backbone"], options=file["options"]), _published(group, file))
        for weights, groups in _table().items()
        for group in groups
        for file in group["files"]
    )


def weights_need(backbone: Choice, weights: str, *, file: str | None = None) -> ToFetch | None:
    """What a run still has to download; None if nothing."""
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
    """Local path of the file, from the cache if it is there, otherwise downloaded.

    Raises:
        MissingFault: not in the cache and not to be had.
        InvalidFault: the file is another one than the table says.
    """
    if published.urls:
        return _fetch_file(published)
    from huggingface_hub import constants, hf_hub_download

    cached = local_weights(published)
    if cached is not None:
        return cached
    switch = offline() or ("HF_HUB_OFFLINE" if constants.HF_HUB_OFFLINE else "")
    if switch:
        raise _lacking(published, constants.HF_HUB_CACHE, f"{switch} is set")
    try:
        with hub_quiet():
            return Path(hf_hub_download(published.name, FILE_NAME))
    except OSError as error:
        raise _lacking(published, constants.HF_HUB_CACHE, f"the download failed: {root_cause(error)}") from error


def local_weights(published: PublishedWeights) -> Path | None:
    """Local path of the file if it is on this machine; nothing is asked of the network."""
    if published.urls:
        path = _hub_file(published.name)
        return path if path.exists() else None
    from huggingface_hub import hf_hub_download

    try:
        with hub_offline():
            return Path(hf_hub_download(published.name, FILE_NAME, local_files_only=True))
    except OSError:
        return None


def load_backbone_weights(
    backbone: "nn.Module", choice: Choice, *, weights: str, file: str | None = None
) -> LoadReport | None:
    """Load published weights into a backbone, strictly.

    Args:
        backbone: the network built from ``choice``.
        choice: its registered name and options.
        weights: ``random`` for nothing, otherwise e.g. ``imagenet``.
        file: as of `published_weights`.

    Returns:
        What was loaded; None for ``random``.

    Raises:
        MissingFault: there is no such file, or it cannot be had.
        InvalidFault: the file is damaged or does not fit the network.
    """
    if weights == "random":
        return None
    published = published_weights(choice, weights=weights, file=file)
    path = fetch_weights(published)
    if published.urls:
        from .foreign.unwrap import read_tensors

        state, sha256 = read_tensors(path), file_sha256(path)
    else:
        state, sha256 = read_safetensors(path)
    state = {published.renamed(name): tensor for name, tensor in state.items()}
    return load_strictly(
        backbone, state, source=published.name, drop=published.drop, fresh=published.fresh, sha256=sha256
    )


def read_safetensors(path: Path) -> tuple[dict[str, "Tensor"], str]:
    """Tensors of a safetensors file by name, and the SHA-256 of the file.

    Raises:
        InvalidFault: the file is no safetensors file or is cut short.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    sha256 = file_sha256(path)
    try:
        return load_file(path), sha256
    except SafetensorError as error:
        raise InvalidFault(
            f"{path} is damaged or not a safetensors file: {first_line(error)}.", next=f"rm {path}"
        ) from error


def _fetch_file(published: PublishedWeights) -> Path:
    """Local path of a file that has addresses of its own, downloaded if it is not there."""
    path = _hub_file(published.name)
    if (switch := offline()) and not path.exists():
        raise _lacking(published, path.parent, f"{switch} is set")
    try:
        sha256 = fetch(published.urls, path, next=f"the same command {RANDOM}")
    except MissingFault as error:
        told = f"{published.name}: {published.note}. " if published.note else ""
        raise MissingFault(*error.faults, f"{told}A copy is taken from {path}.", next=error.next) from error
    if not sha256.startswith(published.sha256):
        raise InvalidFault(
            f"{path} has SHA-256 {sha256}, which should begin with {published.sha256}.", next=f"rm {path}"
        )
    return path


def _hub_file(name: str) -> Path:
    """Where ``torch.hub`` keeps a file of weights; another program may have put it there already."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    home = Path(os.environ.get("TORCH_HOME") or caches / "torch")
    return home.expanduser() / "hub" / "checkpoints" / name


def _lacking(published: PublishedWeights, cache_folder: str | Path, why: str) -> MissingFault:
    return MissingFault(
        f"The weights {published.name} are not in the cache {cache_folder} and {why}; "
        f"on a connected machine run `segbench weights download {published.name}` and copy that cache here.",
        next=f"the same command {RANDOM}",
    )


def _published(group: dict[str, Any], file: dict[str, Any]) -> PublishedWeights:
    """One file of a group of the table."""
    return PublishedWeights(
        file["name"],
        drop=tuple(group.get("drop", ())),
        rename=tuple(group.get("rename", {}).items()),
        fresh=tuple(group.get("fresh", ())),
        urls=tuple(file.get("urls", ())),
        sha256=file.get("sha256", ""),
        note=file.get("note", ""),
    )


@cache
def _table() -> dict[str, Any]:
    text = resources.files("segbench.checkpoints").joinpath("backbone_weights.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)
