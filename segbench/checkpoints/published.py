"""Published checkpoints: their networks, addresses, and published figures. Free of torch.

The table is data (``published.yaml``); `segbench.checkpoints.fetch` downloads the files.
"""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator

from segbench.core.errors import InvalidFault, UsageFault
from segbench.core.registry import choices, close_names
from segbench.core.spec import DataSpec, EvaluationSpec, Spec
from segbench.core.strict_yaml import load
from segbench.core.typed_yaml import parse

from . import families

Certainty = Literal["read", "user", "recalled"]
Metric = Literal["miou", "pixel_accuracy"]

HUB_FILES = ("model.safetensors", "pytorch_model.bin")  # the first that a repository has is taken
_TABLE = Path(__file__).with_name("published.yaml")
_DIGEST = re.compile(r"-([0-9a-f]{8})\.pth$")
_HUB_FOLDER = "models--"  # how the cache of the hub begins the name of a repository's folder


class PublishedProtocol(Spec):
    """The evaluation of a published figure.

    Attributes:
        short: a few words for a table.
        words: one clause.
        fields: of an evaluation spec beside its data; None if they cannot express it.
        beyond: what these fields leave out; empty if nothing.
    """

    short: str
    words: str
    fields: dict[str, Any] | None
    beyond: str = ""


@dataclass(frozen=True)
class PublishedFigure:
    """A published score of a checkpoint.

    Attributes:
        metric: ``miou`` or ``pixel_accuracy``, in percent.
        value: the printed string.
        protocol: of its evaluation.
        evaluation: the same as a spec; None if it cannot be expressed. It is incomplete if ``protocol.beyond`` is not
            empty.
        certainty: ``read`` in the project's own tables, measured by a ``user`` of the file, or ``recalled``.
        source: place of publication.
    """

    metric: Metric
    value: str
    protocol: PublishedProtocol
    evaluation: EvaluationSpec | None
    certainty: Certainty
    source: str


@dataclass(frozen=True)
class PublishedCheckpoint:
    """One registered checkpoint.

    Attributes:
        name: in commands.
        family: name of its family in ``checkpoints.families``.
        project: its publisher.
        network: in words.
        urls: addresses of the file, in the order in which they are tried; empty for a repository of the hub.
        hub: repository of the Hugging Face Hub; empty for a file with addresses.
        data: name of the data set of its figures; segbench does not read ``coco``.
        classes: name of the class table of its outputs.
        split: the data set's split of its figures.
        figures: the published ones, one scale first.
        parameters: number of them as printed, if it is.
        size_mib: size of the file in MiB as printed, if it is.
        licence: one sentence.
        notes: what a user should know, one sentence each.
        digest: relation of the digits at the end of the file's name to its SHA-256: ``trusted`` or ``doubtful`` as its
            beginning, or ``none`` without such digits.
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
        """Beginning of the SHA-256 in the file's name; empty if there is none."""
        found = _DIGEST.search(self.file_name) if self.digest != "none" else None
        return found[1] if found else ""

    def protocols_on(self, data: DataSpec) -> list[EvaluationSpec]:
        """Return the protocols of the figures that are published for these images; empty for other images."""
        if (self.data, self.split) != (data.name, data.splits[0]):
            return []
        return [figure.evaluation for figure in self.figures if figure.evaluation is not None]

    def disowns(self, sha256: str) -> bool:
        """Return True if a file of this SHA-256 cannot be the published one."""
        return self.digest == "trusted" and not sha256.startswith(self.sha256_prefix)


def _known_family(name: str) -> str:
    if name not in families.names():
        raise ValueError(f"no checkpoint family {name!r}. {choices(name, families.names())}.")
    return name


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
    family: Annotated[str, AfterValidator(_known_family)]
    project: str
    address: str = ""
    digest: Literal["trusted", "doubtful", "none"]
    licence: str
    source: str
    checkpoints: tuple[_Entry, ...]
    notes: tuple[str, ...] = ()


class _Table(Spec):
    protocols: dict[str, PublishedProtocol]
    groups: tuple[_Group, ...]


@cache
def checkpoint_table() -> tuple[PublishedCheckpoint, ...]:
    """Return all registered checkpoints, in the order of the table.

    Raises:
        InvalidFault: the table has faults, each with its line.
    """
    table, faults = parse(load(_TABLE), _Table, what="the table of checkpoints")
    if table is None:
        raise InvalidFault(*faults)
    return tuple(_checkpoint(entry, group, table.protocols) for group in table.groups for entry in group.checkpoints)


def checkpoint(name: str) -> PublishedCheckpoint:
    """Return the registered checkpoint of that name.

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
    """Return the names that begin with this one or contain it, else those that a typing slip could have meant."""
    begun = [each for each in known if name and each.startswith(name)]
    within = [each for each in known if len(name) > 2 and name in each]
    return (begun or within or close_names(name, known))[:limit]


def published_for(*, file_name: str = "", sha256: str = "") -> PublishedCheckpoint | None:
    """Return the registered checkpoint of a file by its name or digest; None if neither is known.

    Args:
        file_name: name or path of the file; for one of the hub the path in the hub's cache, as all have the same name.
        sha256: its digest in hexadecimal, if known.
    """
    path = PurePath(file_name)
    folders = [part.removeprefix(_HUB_FOLDER).replace("--", "/") for part in path.parts if part.startswith(_HUB_FOLDER)]
    for each in checkpoint_table():
        named = path.name in [PurePath(url).name for url in each.urls] or each.hub in folders[-1:]
        if named and not (sha256 and each.disowns(sha256)):
            return each
    digests = [each for each in checkpoint_table() if each.sha256_prefix]
    return next((each for each in digests if sha256.startswith(each.sha256_prefix)), None) if sha256 else None


def _checkpoint(entry: _Entry, group: _Group, protocols: dict[str, PublishedProtocol]) -> PublishedCheckpoint:
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


def _figure(figure: _Figure, entry: _Entry, group: _Group, protocol: PublishedProtocol) -> PublishedFigure:
    data = DataSpec(name=entry.data, splits=(entry.split,))
    evaluation = None if protocol.fields is None else EvaluationSpec.model_validate({"data": data, **protocol.fields})
    return PublishedFigure(
        figure.metric, figure.value, protocol, evaluation, figure.certainty, figure.source or group.source
    )
