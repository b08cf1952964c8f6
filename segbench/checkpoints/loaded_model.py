"""A network under test: one shape for segbench's own weights, other projects' checkpoints and the user's own code."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from segbench.core.errors import InvalidFault
from segbench.core.hashing import file_sha256
from segbench.core.spec import InputSpec, ModelSpec, digest
from segbench.models.labels import model_label
from segbench.models.segmentor import Segmentor, build_segmentor

from . import native as checkpoint
from .conventions import Convention
from .foreign.open import open_foreign
from .foreign.unwrap import read_tensors
from .loading import LoadReport, load_strictly
from .native import WeightsHeader
from .own_network import OwnNetwork, find_builder


@dataclass(frozen=True)
class LoadedModel:
    """A network with everything that scoring it needs.

    Attributes:
        segmentor: in evaluation mode.
        input: what it is fed.
        path: its file.
        sha256: of the file.
        identity: what the id of an evaluation hashes: the file's SHA-256 for weights of segbench as they are, else a
            digest of that and of the conventions in force.
        title: whose it is, in words.
        network: its architecture, in words.
        declared: input and align_corners as the file's project has them.
        model: its spec; None for the user's own code.
        classes: names in order of the logits; empty where the file does not say.
        protocol: how its project scores it: fields of an evaluation spec.
        header: of segbench's own weights.
        report: which tensors found their place.
        notes: what a user should know, one sentence each.
        about: more for the record.
    """

    segmentor: Segmentor
    input: InputSpec
    path: Path
    sha256: str
    identity: str
    title: str
    network: str
    declared: tuple[InputSpec, bool]
    model: ModelSpec | None = None
    classes: tuple[str, ...] = ()
    protocol: dict[str, object] = field(default_factory=dict)
    header: WeightsHeader | None = None
    report: LoadReport | None = None
    notes: tuple[str, ...] = ()
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def num_classes(self) -> int:
        return self.segmentor.num_classes

    @property
    def align_corners(self) -> bool:
        return self.segmentor.align_corners

    @property
    def parameters(self) -> float:
        """Millions of parameters."""
        return sum(parameter.numel() for parameter in self.segmentor.parameters()) / 1e6

    @property
    def matched(self) -> tuple[int, int]:
        """How many of the network's tensors came from the file, and how many it has."""
        if self.report is None:
            count = len(self.segmentor.state_dict())
            return count, count
        lacking = len(self.report.missing) + len(self.report.misshapen)
        return self.report.wanted - lacking, self.report.wanted


def open_weights(path: Path) -> LoadedModel:
    """A weights file of segbench.

    Raises:
        MissingFault: there is no such file.
        InvalidFault: it is none, or does not fit its own header.
    """
    segmentor, header = checkpoint.build_from_weights(path)
    sha256 = file_sha256(path)
    return LoadedModel(
        segmentor,
        header.model.input,
        path,
        sha256,
        sha256,
        "segbench",
        model_label(header.model),
        (header.model.input, header.model.align_corners),
        header.model,
        header.classes,
        protocol={"window": header.crop} if header.crop else {},
        header=header,
        about={"training": header.training, "model": header.model.canonical(), "step": header.step},
    )


def open_other(
    path: Path, *, family: str | None = None, averaged: bool = False, allow_partial: bool = False
) -> LoadedModel:
    """A checkpoint of another project.

    Args:
        path: the file.
        family: whose it is; None to find out.
        averaged: take the moving average of the weights.
        allow_partial: leave at random what the file lacks.

    Raises:
        MissingFault: there is no such file.
        UsageFault: there is no such family.
        InvalidFault: the file is damaged, holds code or is of no known family, or tensors have no place.
    """
    try:
        opened = open_foreign(path, family=family, averaged=averaged, allow_partial=allow_partial)
    except InvalidFault as error:
        if checkpoint.is_state(path):
            raise InvalidFault(
                checkpoint.state_says(path), next="segbench eval --checkpoint FILE.safetensors"
            ) from error
        raise
    foreign, report = opened.foreign, opened.report
    about: dict[str, Any] = {
        "family": foreign.family,
        "title": foreign.title,
        "model": foreign.model.canonical(),
        "dropped": len(report.dropped),
    }
    about |= {"averaged": True} if averaged else {}
    if report.faults:
        about["left_random"] = sorted([*report.missing, *report.misshapen])
    subject = LoadedModel(
        opened.segmentor,
        foreign.model.input,
        path,
        file_sha256(path),
        "",
        foreign.title,
        model_label(foreign.model),
        (foreign.model.input, foreign.model.align_corners),
        foreign.model,
        foreign.classes,
        protocol=foreign.protocol,
        report=report,
        notes=foreign.notes,
        about=about,
    )
    return replace(subject, identity=_identity(subject))


def open_own_network(path: Path, name: str, num_classes: int, *, averaged: bool = False) -> LoadedModel:
    """The user's own network with the tensors of a checkpoint.

    Args:
        path: the file of the tensors.
        name: ``module:function`` that builds the network.
        num_classes: number of its outputs.
        averaged: take the moving average of the weights.

    Raises:
        MissingFault: there is no such file.
        UsageFault: there is no such function.
        InvalidFault: the code fails, or the tensors do not fit.
    """
    tensors = read_tensors(path, averaged=averaged)
    builder = find_builder(name)
    network = builder(num_classes, path)
    report = load_strictly(network, tensors, source=path.name)
    segmentor = OwnNetwork(network, num_classes=num_classes, align_corners=False, name=name).eval()
    about = {"code": name, "code_sha256": builder.source} | ({"averaged": True} if averaged else {})
    subject = LoadedModel(
        segmentor,
        InputSpec(),
        path,
        file_sha256(path),
        "",
        name,
        type(network).__name__,
        (InputSpec(), False),
        report=report,
        about=about,
    )
    return replace(subject, identity=_identity(subject))


def adjusted(subject: LoadedModel, convention: Convention) -> LoadedModel:
    """The same tensors under conventions that the user says; the subject itself where they are its own already."""
    input = convention.input(subject.input)
    align = subject.align_corners if convention.align_corners is None else convention.align_corners
    if input == subject.input and align == subject.align_corners:
        return subject
    segmentor = subject.segmentor if align == subject.align_corners else _realigned(subject, align)
    changed = replace(subject, input=input, segmentor=segmentor)
    return replace(changed, identity=_identity(changed))


def _realigned(subject: LoadedModel, align_corners: bool) -> Segmentor:
    """A second network on the same tensors that resizes otherwise."""
    segmentor = subject.segmentor
    if subject.model is None:
        assert isinstance(segmentor, OwnNetwork)
        again: Segmentor = OwnNetwork(
            segmentor.network, num_classes=segmentor.num_classes, align_corners=align_corners, name=segmentor.name
        )
        return again.train(segmentor.training)
    spec = subject.model.model_copy(update={"align_corners": align_corners})
    with torch.device("meta"):
        again = build_segmentor(spec, num_classes=segmentor.num_classes)
    own = dict(segmentor.named_modules())
    for name, module in again.named_modules():
        _share(own[name], module)
    return again.train(segmentor.training)


def _share(source: nn.Module, target: nn.Module) -> None:
    """Give a module the parameters and buffers of another one; those that are not saved are shared too."""
    for key, parameter in source.named_parameters(recurse=False):
        target.register_parameter(key, parameter)
    kept = set(source.state_dict(keep_vars=True))
    for key, buffer in source.named_buffers(recurse=False):
        target.register_buffer(key, buffer, persistent=key in kept)


def _identity(subject: LoadedModel) -> str:
    """What the id of an evaluation hashes of a network."""
    here = {key: value for key, value in subject.about.items() if key in ("averaged", "code", "code_sha256")}
    if subject.model is not None:
        changes = {"input": subject.input, "align_corners": subject.align_corners}
        here["model"] = subject.model.model_copy(update=changes).canonical()
    else:
        here |= {"input": subject.input.canonical(), "align_corners": subject.align_corners}
    if subject.report is not None and subject.report.faults:
        here["partial"] = True
    if subject.header is not None and (subject.input, subject.align_corners) == subject.declared:
        return subject.sha256
    return digest({"checkpoint": subject.sha256, **here}, length=32)
