"""What every training method is: a module that turns a step's batches into named losses."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from segbench.models.scheduled import tell_progress
from segbench.models.segmentor import Decoder

if TYPE_CHECKING:
    from segbench.data.batch import Batch
    from segbench.models.segmentor import Segmentor


@dataclass(frozen=True)
class ParamGroup:
    """Parameters that share a learning rate.

    Attributes:
        name: name of the group, unique in its method.
        params: (name, parameter) pairs; names are those of `Method.named_parameters`.
        lr_multiplier: factor on the schedule's learning rate.
        weight_decay: theirs; None: the schedule's.
    """

    name: str
    params: list[tuple[str, nn.Parameter]] = field(repr=False)
    lr_multiplier: float = 1.0
    weight_decay: float | None = None


class Gatherer(ABC):
    """Takes from the training images what a network needs that its steps do not give it.

    Attributes:
        images: about how many images it wants, evenly spread; None: all.
    """

    images: int | None = None

    @abstractmethod
    def embed(self, images: Tensor) -> Tensor:
        """What is kept of normalised images (N, 3, h, w), windows of whole ones: (N, D, h', w')."""

    @abstractmethod
    def add(self, embedding: Tensor, target: Tensor) -> None:
        """Take one image: the sum over its windows, enlarged, (1, D, H, W) and its labels (1, H, W) int64."""

    @abstractmethod
    def finish(self) -> None:
        """Give the network what was gathered.

        Raises:
            RunFault: that is nothing.
        """


class Method(nn.Module, ABC):
    """Owns the segmentor and whatever else a training trains or keeps.

    Args:
        segmentor: the network that is evaluated in the end.
        seed: of all random draws of the method.

    Attributes:
        wants_logits: whether it trains a classifier, so that it cannot do with a network that has none.
    """

    wants_logits: bool = True

    def __init__(self, segmentor: Segmentor, *, seed: int) -> None:
        super().__init__()
        self.segmentor = segmentor
        self.seed = seed
        self.steps = 1  # of the whole training; `build_method` says it
        self.part = 0  # which part of the step's batch ``forward`` is given, where a batch is cut into several

    @abstractmethod
    def forward(self, batches: dict[str, Batch], step: int) -> dict[str, Tensor]:
        """Named scalar losses, already weighted; their sum is minimised.

        Args:
            batches: one batch a stream; a training with one stream calls it ``labelled``.
            step: optimiser steps done so far.
        """

    def mean_over(self, batches: dict[str, Batch]) -> dict[str, Tensor]:
        """By name of a loss, the weight that it takes its mean over, e.g. the number of labelled pixels.

        A batch that is cut into parts then has the mean of the parts' losses, weighted so, for its loss. A loss that
        is not named here counts alike in every part, which is another loss unless each image has its own; the
        options' ``across_images_of`` says so.
        """
        return {}

    def progress(self, step: int) -> float:
        """Share of the training that is done, 0 at its first step and 1 after its last."""
        return min(step / self.steps, 1.0)

    def param_groups(self) -> list[ParamGroup]:
        """All parameters that are trained, each in exactly one group.

        A decoder with a learning rate of its own is one, and its parameters with weight decay of their own are others.
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
        return [part for group in groups for part in _by_decay(group, decays)]

    def before_step(self, step: int) -> None:
        """Called before each step's first forward pass: every network is told how far the training is."""
        tell_progress(self, self.progress(step))

    def after_step(self, step: int) -> None:
        """Called after each optimiser step; nothing by default."""

    def training_pass(self, images: Tensor) -> object:
        """Everything that training computes from images before the losses: what the cost of training counts."""
        return self.segmentor(images)

    def gatherer(self) -> Gatherer | None:
        """What is shown the training images before the network is evaluated; None if it needs nothing of them."""
        return None

    def predictor(self) -> Segmentor:
        """The network to evaluate."""
        return self.segmentor

    def generator(self, step: int, *, group: int = 0, stream: str = "") -> torch.Generator:
        """A generator on the parameters' device whose draws depend on the arguments, the seed and the part alone."""
        words = f"{self.seed}/{step}/{group}/{stream}" + (f"/{self.part}" if self.part else "")
        key = hashlib.blake2b(words.encode(), digest_size=8).digest()
        generator = torch.Generator(device=next(self.parameters()).device)
        return generator.manual_seed(int.from_bytes(key) >> 1)


def _by_decay(group: ParamGroup, decays: dict[str, float]) -> list[ParamGroup]:
    """A group cut into the parameters whose names begin so, with their own weight decay, and the others."""
    if not decays:
        return [group]
    own = [
        replace(group, name=prefix.rstrip("."), weight_decay=decay, params=params)
        for prefix, decay in decays.items()
        if (params := [item for item in group.params if item[0].startswith(prefix)])
    ]
    others = [item for item in group.params if not item[0].startswith(tuple(decays))]
    return [replace(group, params=others), *own]
