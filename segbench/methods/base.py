"""Base class of training methods: a module that turns the batches of a step into named losses."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from segbench.models.scheduled import tell_progress
from segbench.models.segmentor import Decoder

from .step import StepInfo

if TYPE_CHECKING:
    from segbench.core.spec import InputSpec, StreamSpec
    from segbench.data.batch import Batch
    from segbench.models.segmentor import Segmentor


@dataclass(frozen=True)
class ParamGroup:
    """Parameters that share optimiser settings.

    Attributes:
        name: unique within the method.
        params: (name, parameter) pairs, named as in `Method.named_parameters`.
        lr_multiplier: factor on the schedule's learning rate.
        weight_decay: overrides the schedule's; None keeps it.
        updates_per_step: optimiser updates per training step, all with the same gradient. More than 1 equals listing
            the parameters several times in one group under torch 1.6: each update adds its own weight decay, moves the
            momentum and subtracts the learning rate times it.
    """

    name: str
    params: list[tuple[str, nn.Parameter]] = field(repr=False)
    lr_multiplier: float = 1.0
    weight_decay: float | None = None
    updates_per_step: int = 1


@dataclass(frozen=True)
class Best:
    """The best validated weights of a stage so far.

    Attributes:
        step: steps after which they were validated.
        weights: reads them, as a state of the evaluated network.
    """

    step: int
    weights: Callable[[], dict[str, Tensor]] = field(repr=False)


class Gatherer(ABC):
    """Collector of what a network needs from the training images beyond its training steps.

    Attributes:
        images: approximate number of images wanted, evenly spread; None: all.
    """

    images: int | None = None

    @abstractmethod
    def embed(self, images: Tensor) -> Tensor:
        """Embed normalised windows of whole images, (N, 3, h, w) to (N, D, h', w')."""

    @abstractmethod
    def add(self, embedding: Tensor, target: Tensor) -> None:
        """Add one image: the upsampled sum over its windows, (1, D, H, W), and its labels, (1, H, W) int64."""

    @abstractmethod
    def finish(self) -> None:
        """Hand the collected values to the network.

        Raises:
            RunFault: nothing was collected.
        """


class Method(nn.Module, ABC):
    """A segmentor with everything else that its training needs: losses, heads, teachers, memory banks.

    Calling a method first tells all its networks how far the training is (`Scheduled`).

    Args:
        segmentor: the network that is evaluated in the end.
        seed: seed of all random draws of the method.

    Attributes:
        wants_logits: whether a classifier is trained, so that a network without one is refused.
    """

    wants_logits: bool = True

    def __init__(self, segmentor: Segmentor, *, seed: int) -> None:
        super().__init__()
        self.segmentor = segmentor
        self.seed = seed
        self.register_forward_pre_hook(_tell_progress)

    @abstractmethod
    def forward(self, batches: dict[str, Batch], info: StepInfo, /) -> dict[str, Tensor]:
        """Return named scalar losses, already weighted; their sum is minimised.

        Args:
            batches: one batch per stream; a training with one stream calls it ``labelled``.
            info: position within the training.
        """

    def loss_normalizers(self, batches: dict[str, Batch]) -> dict[str, Tensor]:
        """Return the denominator of each mean loss, e.g. the number of labelled pixels, as scalars by loss name.

        Every loss needs one. The loop weights the losses of each micro-batch and process by its share of the sum of
        these, so that they add up to the loss of the whole batch. Where a loss is a mean over images or groups of
        images it is their number; so it is where all images are compared with one another, whose loss changes with a
        split anyway (`Options.across_images_of`).

        Args:
            batches: of one micro-batch. They are of the same size as those of the last forward pass, so a method may
                use what it has seen there, such as the resolution of the logits.
        """
        return {}

    def see_data(self, streams: Mapping[str, StreamSpec], *, input: InputSpec, images: Mapping[str, int]) -> None:
        """Learn of the streams that batches will come from; called once, right after construction.

        Args:
            streams: data, crop, batch size and augmentation, which a method applies itself if that says so.
            input: normalisation of the images.
            images: number of images of each stream; none if costs are estimated without data.

        Raises:
            InvalidFault: the method needs other streams.
        """

    def receive(self, networks: Mapping[str, Segmentor]) -> None:
        """Take over results of the earlier stages that `Options.needs_stages` names; not called if it names none.

        Called once per run, also when a training resumes: after construction, before parameters are grouped and before
        saved state is loaded.

        Args:
            networks: the networks by stage name, on the CPU, in evaluation mode, without gradients.
        """

    def param_groups(self) -> list[ParamGroup]:
        """Return all trained parameters, each in exactly one group.

        By default a decoder with its own learning rate gets a group, and so do parameters with their own weight decay.
        """
        trained = [item for item in self.named_parameters() if item[1].requires_grad]
        factors = {
            f"{name}.": module.lr_factor
            for name, module in self.named_modules()
            if isinstance(module, Decoder) and module.lr_factor != 1.0
        }
        groups = [ParamGroup("model", [item for item in trained if not item[0].startswith(tuple(factors))])]
        for prefix, factor in factors.items():
            params = [item for item in trained if item[0].startswith(prefix)]
            groups += [ParamGroup(prefix.rstrip("."), params, factor)] if params else []
        decays = {
            f"{name}.{prefix}": decay
            for name, module in self.named_modules()
            if isinstance(module, Decoder)
            for prefix, decay in module.weight_decays.items()
        }
        return [split for group in groups for split in _split_by_decay(group, decays)]

    def after_step(self, info: StepInfo) -> None:
        """Update what is not trained by gradients, after each optimiser step; ``info.step`` is that step's."""

    def on_validation(self, info: StepInfo, miou: float | None, best: Best | None) -> None:
        """React to a validation, before the next step; not called after the last one.

        Args:
            info: of the next step.
            miou: of the validation split in percent; None if there is none, NaN if none of it is labelled.
            best: the best validated weights so far, which may be these; None if nothing has been validated.
        """

    def refreshes(self) -> int:
        """Return the number of batches that `refresh` is to see of the best weights after the last step."""
        return 0

    def refresh(self, batches: dict[str, Batch], /) -> None:
        """Let the network, which has its best weights again, see a batch: in training mode, without gradients.

        Its state afterwards is validated, and scored wherever the best weights are if it is better than they are.
        """

    def training_pass(self, images: Tensor) -> object:
        """Compute everything that precedes the losses in training; the cost of training is counted on it."""
        return self.segmentor(images)

    def gatherer(self) -> Gatherer | None:
        """Return what is shown the training images before the network is evaluated; None if nothing is needed."""
        return None

    def predictor(self) -> Segmentor:
        """Return the network to evaluate."""
        return self.segmentor

    def generator(self, info: StepInfo, *, group: int = 0, stream: str = "") -> torch.Generator:
        """Return a generator on the parameters' device, seeded by the arguments and the method's seed, not by rank."""
        key = f"{self.seed}/{info.step}/{group}/{stream}" + (f"/{info.micro_batch}" if info.micro_batch else "")
        digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
        generator = torch.Generator(device=next(self.parameters()).device)
        return generator.manual_seed(int.from_bytes(digest) >> 1)


def _tell_progress(method: nn.Module, arguments: tuple[Any, ...]) -> None:
    tell_progress(method, arguments[1].progress)


def _split_by_decay(group: ParamGroup, decays: dict[str, float]) -> list[ParamGroup]:
    """Split off the parameters whose names begin with a key of ``decays``, each with its weight decay."""
    if not decays:
        return [group]
    own = [
        replace(group, name=prefix.rstrip("."), weight_decay=decay, params=params)
        for prefix, decay in decays.items()
        if (params := [item for item in group.params if item[0].startswith(prefix)])
    ]
    others = [item for item in group.params if not item[0].startswith(tuple(decays))]
    return [replace(group, params=others), *own]
