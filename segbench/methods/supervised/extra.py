"""Losses beside the cross-entropy as modules: an option of supervised training and of all that builds on it."""

from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn

from segbench.losses.aaf import affinity_loss, field_sums
from segbench.losses.lovasz import lovasz_softmax
from segbench.losses.rmi import binary_cross_entropy, region_mutual_information

from .extra_options import Aaf, ExtraLoss, Lovasz, Rmi


class Extra(nn.Module, ABC):
    """A loss formed over groups of images that follow one another; its value is the mean over the groups.

    Attributes:
        at: at whose resolution it wants logits and labels.
    """

    at: Literal["logits", "labels"] = "labels"

    def __init__(self, options: Aaf | Rmi | Lovasz) -> None:
        super().__init__()
        self.name, self.weight, self.images_per_group = options.name, options.weight, options.images_per_group

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss before its factor, a scalar.

        Args:
            logits: (N, C, H, W).
            target: (N, H, W) integers; those outside 0..C-1 are ignored.
        """
        size = self.images_per_group or len(target)
        pairs = zip(logits.split(size), target.split(size), strict=True)
        return torch.stack([self.of_group(*pair) for pair in pairs]).mean()

    @abstractmethod
    def of_group(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of one group, a scalar."""

    def factor(self, progress: float) -> float:
        """Its factor beside the cross-entropy's, with a share of the training done."""
        return self.weight


class AafLoss(Extra):
    """Adaptive affinity fields; see `Aaf`.

    Learned weights are a soft-max over the fields, one for every class and kind of pair. They are meant to make the
    loss large: their gradient is reversed, so that the optimiser that lowers all else raises it (AAF's released code).
    """

    def __init__(self, options: Aaf, *, num_classes: int) -> None:
        super().__init__(options)
        self.options, self.at = options, options.at
        self.free = nn.ParameterDict()
        if options.field_weights == "learned":
            shape = (num_classes, len(options.fields))
            self.free.update({kind: nn.Parameter(torch.zeros(shape)) for kind in ("edge", "non_edge")})

    def factor(self, progress: float) -> float:
        return self.weight * self.options.final_share**progress

    def of_group(self, logits: Tensor, target: Tensor) -> Tensor:
        options = self.options
        fields = [field_sums(logits, target, side=side, margin=options.margin) for side in options.fields]
        shape = (logits.shape[1], len(fields))
        edge, non_edge = affinity_loss(
            fields,
            edge_weights=self._field_weights("edge", shape, logits),
            non_edge_weights=self._field_weights("non_edge", shape, logits),
        )
        return options.edge_weight * edge + options.non_edge_weight * non_edge

    def _field_weights(self, kind: str, shape: tuple[int, int], like: Tensor) -> Tensor:
        """(C, K) weights of one kind of pair."""
        if self.options.field_weights != "learned":
            return torch.full(shape, self.options.field_weights, device=like.device)
        free = self.free[kind]
        return (2 * free.detach() - free).softmax(1)  # the value of ``free``, with the gradient reversed


class RmiLoss(Extra):
    """Binary cross-entropy and region mutual information; see `Rmi`."""

    def __init__(self, options: Rmi) -> None:
        super().__init__(options)
        self.options = options

    def of_group(self, logits: Tensor, target: Tensor) -> Tensor:
        options = self.options
        information = region_mutual_information(
            logits,
            target,
            side=options.radius,
            pool=options.pool,
            pool_size=options.pool_size,
            alpha=options.regularisation,
        )
        return options.bce_weight * binary_cross_entropy(logits, target) + options.rmi_weight * information


class LovaszLoss(Extra):
    """Lovász-softmax; see `Lovasz`."""

    def __init__(self, options: Lovasz) -> None:
        super().__init__(options)
        self.classes = options.classes

    def of_group(self, logits: Tensor, target: Tensor) -> Tensor:
        return lovasz_softmax(logits, target, classes=self.classes)


def build_extra(options: ExtraLoss, *, num_classes: int) -> Extra:
    """The module of an option."""
    if isinstance(options, Aaf):
        return AafLoss(options, num_classes=num_classes)
    return RmiLoss(options) if isinstance(options, Rmi) else LovaszLoss(options)
