"""Published checkpoints: what each is, where it lies, and what its publishers say it scores. Free of torch.

The table is data (``published.yaml``). Fetching them is `segbench.checkpoints.find`.
"""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePath
from typing import Any, Literal

from segbench.core.errors import InvalidFault, UsageFault
from segbench.core.registry import close_names
from segbench.core.spec import DataSpec, EvaluationSpec, Spec
from segbench.core.strict_yaml import load
from segbench.core.typed_yaml import parse

Certainty = Literal["read", "user", "recalled"]
Metric = Literal["miou", "pixel_accuracy"]

HUB_FILES = ("model.safetensors", "pytorch_model.bin")  # the first that a repository has is taken
_TABLE = Path(__file__).with_name("published.yaml")
_DIGEST = re.compile(r"-([0-9a-f]{8})\.pth$")
_HUB_FOLDER = "models--"  # how the cache of the hub begins the name of a repository's folder


class Protocol(Spec):
    """How a published figure was measured.

    Attributes:
        short: a few words for a table.
        words: one clause.
        fields: of an evaluation spec beside its data; None where none can say it.
        beyond: what these fields leave out; empty if they say all.
    """

    short: str
    words: str
    fields: dict[str, Any] | None
    beyond: str = ""


@dataclass(frozen=True)
class PublishedFigure:
    """What a checkpoint scores, as printed.

    Attributes:
        metric: ``miou`` or ``pixel_accuracy``, in percent.
        value: the printed string.
        protocol: how it was measured.
        evaluation: the same as a spec; None where none can say it. Where ``protocol.beyond`` is not empty, the spec
            is not the whole protocol.
        certainty: ``read`` in the project's own tables, measured by a ``user`` of the file, or ``recalled``.
        source: where it is printed.
    """

    metric: Metric
    value: str
    protocol: Protocol
    evaluation: EvaluationSpec | None
    certainty: Certainty
    source: str


@dataclass(frozen=True)
class PublishedCheckpoint:
    """One registered checkpoint.

    Attributes:
        name: what commands call it.
        family: the module of ``models.foreign.families`` that reads it.
        project: who published it.
        network: in words.
        urls: where the file lies, in the order in which they are tried; empty for a repository of the hub.
        hub: repository of the Hugging Face Hub; empty for a file with addresses.
        data: name of the data set of its figures; ``coco`` is none that segbench reads.
        classes: name of the class table of its outputs.
        split: the data set's split of its figures.
        figures: the published ones, one scale first.
        parameters: number of them as printed, if it is.
        size_mib: size of the file in MiB as printed, if it is.
        licence: one sentence.
        notes: what a user should know, one sentence each.
        digest: whether the digits at the end of the file's name begin its SHA-256: ``trusted``, ``doubtful``, or
            ``none`` where there are no such digits.
    """

    name: str
    family: str
    project: str
    network: str
    urls: tuple[str, ...]
    hub: str
    data: str
    classes: str
    split: str
    figures: tuple[PublishedFigure, ...]
    parameters: str
    size_mib: float | None
    licence: str
    notes: tuple[str, ...]
    digest: Literal["trusted", "doubtful", "none"]

    @property
    def file_name(self) -> str:
        """Name of the file; empty for a repository of the hub."""
        return PurePath(self.urls[0]).name if self.urls else ""

    @property
    def sha256_prefix(self) -> str:
        """The digits that the file's name gives for its SHA-256; empty if it gives none."""
        found = _DIGEST.search(self.file_name) if self.digest != "none" else None
        return found[1] if found else ""

    def disowns(self, sha256: str) -> bool:
        """Whether a file of this SHA-256 cannot be the published one."""
        return self.digest == "trusted" and not sha256.startswith(self.sha256_prefix)


class _Figure(Spec):
    protocol: str
    value: str
    metric: Metric = "miou"
    certainty: Certainty = "read"
    source: str = ""


class _Entry(Spec):
    name: str
    network: str
    file: str = ""
    mirrors: tuple[str, ...] = ()
    hub: str = ""
    data: str
    classes: str = ""
    split: str = "val"
    figures: tuple[_Figure, ...]
    parameters: str = ""
    size_mib: float | None = None
    notes: tuple[str, ...] = ()


class _Group(Spec):
    family: Literal[
        "torchvision", "mmsegmentation", "huggingface", "nvlabs", "swin", "hrnet", "openseg", "semiseg", "semseg"
    ]
    project: str
    address: str = ""
    digest: Literal["trusted", "doubtful", "none"]
    licence: str
    source: str
    checkpoints: tuple[_Entry, ...]
    notes: tuple[str, ...] = ()


class _Table(Spec):
    protocols: dict[str, Protocol]
    groups: tuple[_Group, ...]


@cache
def checkpoint_table() -> tuple[PublishedCheckpoint, ...]:
    """Every registered checkpoint, in the order of the table.

    Raises:
        InvalidFault: the table has faults, each with its line.
    """
    table, faults = parse(load(_TABLE), _Table, what="the table of checkpoints")
    if table is None:
        raise InvalidFault(*faults)
    return tuple(_checkpoint(entry, group, table.protocols) for group in table.groups for entry in group.checkpoints)


def checkpoint(name: str) -> PublishedCheckpoint:
    """The registered checkpoint of that name.

    Raises:
        UsageFault: there is none.
    """
    known = {each.name: each for each in checkpoint_table()}
    if name not in known:
        close = ", ".join(close_to(name, list(known)))
        said = f"No published checkpoint {name!r} is registered."
        raise UsageFault(f"{said} Close: {close}." if close else said, next="segbench weights list")
    return known[name]


def close_to(name: str, known: list[str], *, limit: int = 3) -> list[str]:
    """Names that begin like this one or have it within them, else those that a slip could have meant."""
    begun = [each for each in known if name and each.startswith(name)]
    within = [each for each in known if len(name) > 2 and name in each]
    return (begun or within or close_names(name, known))[:limit]


def published_for(*, file_name: str = "", sha256: str = "") -> PublishedCheckpoint | None:
    """The registered checkpoint that a file is, as far as its name and digest tell; None if neither does.

    Args:
        file_name: name or path of the file; of a file of the hub the path in the hub's cache, as names are alike there.
        sha256: its digest in hexadecimal, where it is known.
    """
    path = PurePath(file_name)
    folders = [part.removeprefix(_HUB_FOLDER).replace("--", "/") for part in path.parts if part.startswith(_HUB_FOLDER)]
    for each in checkpoint_table():
        called = path.name in [PurePath(url).name for url in each.urls] or each.hub in folders[-1:]
        if called and not (sha256 and each.disowns(sha256)):
            return each
    named = [each for each in checkpoint_table() if each.sha256_prefix]
    return next((each for each in named if sha256.startswith(each.sha256_prefix)), None) if sha256 else None


def _checkpoint(entry: _Entry, group: _Group, protocols: dict[str, Protocol]) -> PublishedCheckpoint:
    files = (entry.file, *entry.mirrors) if entry.file else ()
    return PublishedCheckpoint(
        name=entry.name,
        family=group.family,
        project=group.project,
        network=entry.network,
        urls=tuple(group.address + file for file in files),
        hub=entry.hub,
        data=entry.data,
        classes=entry.classes or entry.data,
        split=entry.split,
        figures=tuple(_figure(figure, entry, group, protocols[figure.protocol]) for figure in entry.figures),
        parameters=entry.parameters,
        size_mib=entry.size_mib,
        licence=group.licence,
        notes=(*entry.notes, *group.notes),
        digest=group.digest,
    )


def _figure(figure: _Figure, entry: _Entry, group: _Group, protocol: Protocol) -> PublishedFigure:
    data = DataSpec(name=entry.data, splits=(entry.split,))
    evaluation = None if protocol.fields is None else EvaluationSpec.model_validate({"data": data, **protocol.fields})
    return PublishedFigure(
        figure.metric, figure.value, protocol, evaluation, figure.certainty, figure.source or group.source
    )
