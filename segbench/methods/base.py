"""What every training method is: a module that turns a step's batches into named losses."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

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
        decays: whether they have weight decay, where the schedule has one.
    """

    name: str
    params: list[tuple[str, nn.Parameter]] = field(repr=False)
    lr_multiplier: float = 1.0
    decays: bool = True


class Method(nn.Module, ABC):
    """Owns the segmentor and whatever else a training trains or keeps.

    Args:
        segmentor: the network that is evaluated in the end.
        seed: of all random draws of the method.
    """

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
        options' ``across_images`` says so.
        """
        return {}

    def progress(self, step: int) -> float:
        """Share of the training that is done, 0 at its first step and 1 after its last."""
        return min(step / self.steps, 1.0)

    def param_groups(self) -> list[ParamGroup]:
        """All parameters that are trained, each in exactly one group; a decoder with a rate of its own is one."""
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
        return groups

    def after_step(self, step: int) -> None:
        """Called after each optimiser step; nothing by default."""

    def training_pass(self, images: Tensor) -> object:
        """Everything that training computes from images before the losses: what the cost of training counts."""
        return self.segmentor(images)

    def predictor(self) -> Segmentor:
        """The network to evaluate."""
        return self.segmentor

    def generator(self, step: int, *, group: int = 0, stream: str = "") -> torch.Generator:
        """A generator on the parameters' device whose draws depend on the arguments, the seed and the part alone."""
        words = f"{self.seed}/{step}/{group}/{stream}" + (f"/{self.part}" if self.part else "")
        key = hashlib.blake2b(words.encode(), digest_size=8).digest()
        generator = torch.Generator(device=next(self.parameters()).device)
        return generator.manual_seed(int.from_bytes(key) >> 1)
