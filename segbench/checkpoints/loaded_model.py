"""A network loaded from a checkpoint: segbench's weights, another project's checkpoint, or the user's own code."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from segbench.core.hashing import file_sha256
from segbench.core.spec import InputSpec, ModelSpec, digest
from segbench.data.colour import normalise
from segbench.models.labels import model_label
from segbench.models.segmentor import Segmentor, build_segmentor

from .conventions import Convention
from .loading import LoadReport, load_strictly
from .open import open_foreign
from .own_network import OwnNetwork, find_builder
from .read import FileKind, identify
from .unwrap import read_tensors
from .weights_file import WeightsHeader, build_from_weights


@dataclass(frozen=True)
class LoadedModel:
    """A network with its preprocessing and everything else that an evaluation needs.

    ``loaded(loaded.preprocess(image))`` are the logits of an image.

    Attributes:
        segmentor: in evaluation mode.
        input: channel order and normalisation.
        path: its file.
        sha256: of the file.
        identity: input of the id of an evaluation: the file's SHA-256 for unchanged weights of segbench, else a digest
            of that and of the conventions in force.
        title: the project or the user's function, in words.
        network: its architecture, in words.
        declared: input and align_corners of the file or its project.
        model: its spec; None for the user's own code.
        classes: names in order of the logits; empty if the file does not state them.
        protocol: evaluation of its project: fields of an evaluation spec.
        header: of segbench's own weights.
        report: which tensors were loaded.
        notes: what a user should know, one sentence each.
        about: further facts for the record.
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
        """Number of tensors that came from the file, and number of tensors of the network."""
        if self.report is None:
            count = len(self.segmentor.state_dict())
            return count, count
        lacking = len(self.report.missing) + len(self.report.misshapen)
        return self.report.wanted - lacking, self.report.wanted

    def preprocess(self, image: NDArray[np.uint8]) -> Tensor:
        """Turn an image into the input of the network.

        Args:
            image: (H, W, 3) RGB in 0..255.

        Returns:
            (1, 3, H, W) float32 in the network's channel order, normalised, on the network's device.
        """
        pixels = torch.from_numpy(np.array(image)).to(self._device).permute(2, 0, 1)[None]
        return normalise(pixels.float() / 255.0, self.input)

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """Compute logits at the size of the images.

        Args:
            images: (N, 3, H, W) as `preprocess` returns them.

        Returns:
            (N, C, H, W) float32; shares of votes instead of logits if ``segmentor.votes``.
        """
        return self.segmentor.resize(self.segmentor(images).logits, (images.shape[-2], images.shape[-1]))

    @property
    def _device(self) -> torch.device:
        return next((tensor.device for tensor in self.segmentor.parameters()), torch.device("cpu"))


def open_model(
    path: Path, *, family: str | None = None, averaged: bool = False, allow_partial: bool = False
) -> LoadedModel:
    """Load the network of any checkpoint; arguments and faults are those of `open_weights` and `open_other`."""
    if identify(path) is FileKind.WEIGHTS and family is None:
        return open_weights(path)
    return open_other(path, family=family, averaged=averaged, allow_partial=allow_partial)


def open_weights(path: Path) -> LoadedModel:
    """Load a weights file of segbench.

    Raises:
        MissingFault: there is no such file.
        InvalidFault: it is not one, or does not fit its own header.
    """
    segmentor, header = build_from_weights(path)
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
    """Load a checkpoint of another project; arguments and faults are those of `open_foreign`."""
    opened = open_foreign(path, family=family, averaged=averaged, allow_partial=allow_partial)
    foreign, report = opened.foreign, opened.report
    about: dict[str, Any] = {
        "family": foreign.family,
        "title": foreign.title,
        "model": foreign.model.canonical(),
        "dropped": len(report.dropped),
    }
    about |= {"averaged": True} if averaged else {}
    if report.mismatches:
        about["left_random"] = sorted([*report.missing, *report.misshapen])
    loaded = LoadedModel(
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
    return replace(loaded, identity=_identity(loaded))


def open_own_network(path: Path, name: str, num_classes: int, *, averaged: bool = False) -> LoadedModel:
    """Load the tensors of a checkpoint into the user's own network.

    Args:
        path: the file of the tensors.
        name: ``module:function`` that builds the network.
        num_classes: number of its output channels.
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
    loaded = LoadedModel(
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
    return replace(loaded, identity=_identity(loaded))


def adjusted(loaded: LoadedModel, convention: Convention) -> LoadedModel:
    """Return the network under the user's conventions, on the same tensors; ``loaded`` itself if nothing changes."""
    input = convention.input(loaded.input)
    align = loaded.align_corners if convention.align_corners is None else convention.align_corners
    if input == loaded.input and align == loaded.align_corners:
        return loaded
    segmentor = loaded.segmentor if align == loaded.align_corners else _realigned(loaded, align)
    changed = replace(loaded, input=input, segmentor=segmentor)
    return replace(changed, identity=_identity(changed))


def _realigned(loaded: LoadedModel, align_corners: bool) -> Segmentor:
    """Return a second network on the same tensors with other corners in its resizes."""
    segmentor = loaded.segmentor
    if loaded.model is None:
        assert isinstance(segmentor, OwnNetwork)
        again: Segmentor = OwnNetwork(
            segmentor.network, num_classes=segmentor.num_classes, align_corners=align_corners, name=segmentor.name
        )
        return again.train(segmentor.training)
    spec = loaded.model.model_copy(update={"align_corners": align_corners})
    with torch.device("meta"):
        again = build_segmentor(spec, num_classes=segmentor.num_classes)
    own = dict(segmentor.named_modules())
    for name, module in again.named_modules():
        _share(own[name], module)
    return again.train(segmentor.training)


def _share(source: nn.Module, target: nn.Module) -> None:
    """Share the parameters and buffers of a module with another one, non-persistent buffers too."""
    for key, parameter in source.named_parameters(recurse=False):
        target.register_parameter(key, parameter)
    kept = set(source.state_dict(keep_vars=True))
    for key, buffer in source.named_buffers(recurse=False):
        target.register_buffer(key, buffer, persistent=key in kept)


def _identity(loaded: LoadedModel) -> str:
    """Return the network's input of the id of an evaluation."""
    here = {key: value for key, value in loaded.about.items() if key in ("averaged", "code", "code_sha256")}
    if loaded.model is not None:
        changes = {"input": loaded.input, "align_corners": loaded.align_corners}
        here["model"] = loaded.model.model_copy(update=changes).canonical()
    else:
        here |= {"input": loaded.input.canonical(), "align_corners": loaded.align_corners}
    if loaded.report is not None and loaded.report.mismatches:
        here["partial"] = True
    if loaded.header is not None and (loaded.input, loaded.align_corners) == loaded.declared:
        return loaded.sha256
    return digest({"checkpoint": loaded.sha256, **here}, length=32)
