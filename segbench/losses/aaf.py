"""Adaptive affinity fields (AAF; Ke et al., ECCV 2018, arXiv 1803.10335): similarity of neighbouring predictions.

Facts: the authors' released code. A field of side 2s + 1 pairs every pixel i with its neighbours j at the offsets
{-s, 0, s}^2 but (0, 0). With p the soft-max probability of a class c and q = 1 - p, both clipped to at least 1e-4,

    D(i, j, c) = p_j log(p_j / p_i) + q_j log(q_j / q_i)

is the divergence of the neighbour from the centre. The triple is an edge if one of the two pixels is labelled c and the
other is not: its loss is max(0, margin - D). Elsewhere its loss is D. A pair counts if i, j and the pixel opposite to j
all lie in the image and are labelled.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .pixel_anchor import class_masks
from .precision import at_least_float32

_LEAST = 1e-4
_DIRECTIONS = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]


class FieldSums(NamedTuple):
    """Losses of one field, summed over its eight neighbours by the class of the centre pixel.

    Attributes:
        edge: (C,) float32 (float64 for float64 logits).
        non_edge: (C,) likewise.
        edges: number of triples in ``edge``, int64, a scalar.
        non_edges: likewise of ``non_edge``.
    """

    edge: Tensor
    non_edge: Tensor
    edges: Tensor
    non_edges: Tensor


def field_sums(logits: Tensor, target: Tensor, *, side: int = 3, margin: float = 3.0) -> FieldSums:
    """Sum the losses over all triples of a field.

    Args:
        logits: (N, C, H, W), any floating type.
        target: (N, H, W) integers; those outside 0..C-1 are ignored.
        side: side of the field's window, odd; a map with a shorter side has no pairs along it.
        margin: divergence from which on an edge has no loss.
    """
    reach = side // 2
    probabilities = at_least_float32(logits).softmax(1)
    p, q = probabilities.clamp(min=_LEAST), (1 - probabilities).clamp(min=_LEAST)
    maps = (p, q, p.log(), q.log(), class_masks(target, num_classes=logits.shape[1]))
    # Each direction makes several maps as large as the logits; they are recomputed for the gradients.
    sums = [
        checkpoint(
            _pair_sums,
            *maps,
            offset=(y * reach, x * reach),
            margin=margin,
            use_reentrant=False,
            preserve_rng_state=False,
        )
        for y, x in _DIRECTIONS
    ]
    return FieldSums(*(torch.stack(each).sum(0) for each in zip(*sums, strict=True)))


def affinity_loss(
    fields: Sequence[FieldSums], *, edge_weights: Tensor, non_edge_weights: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the mean weighted loss over edges and over other triples, each summed over the fields.

    Args:
        fields: sums of K fields.
        edge_weights: (C, K), factors of each field's edge losses by the class of the centre pixel.
        non_edge_weights: likewise of the other triples.

    Returns:
        Two scalars; the mean of a kind is 0 for a field without triples of that kind.
    """
    edge, non_edge, edges, non_edges = (torch.stack(each, -1) for each in zip(*fields, strict=True))
    # No matrix products, which autocast would round.
    of_edges = (edge * edge_weights).sum(0) / edges.clamp(min=1)
    of_rest = (non_edge * non_edge_weights).sum(0) / non_edges.clamp(min=1)
    return of_edges.sum(), of_rest.sum()


def _pair_sums(
    p: Tensor, q: Tensor, log_p: Tensor, log_q: Tensor, masks: Tensor, *, offset: tuple[int, int], margin: float
) -> FieldSums:
    """Sum the losses of one direction.

    Args:
        p: (N, C, H, W), as q and the logarithms of both.
        masks: (N, C, H, W) bool, whether a pixel is labelled as a class.
        offset: (rows, columns) from the centre to the neighbour.
        margin: as in `field_sums`.
    """
    centre, neighbour, opposite = (_places(p, offset, at) for at in (0, 1, -1))
    labelled = masks.any(1, keepdim=True)
    counts = labelled[centre] & labelled[neighbour] & labelled[opposite]
    differs = masks[centre] != masks[neighbour]
    edge, rest = differs & counts, ~differs & counts
    divergence = p[neighbour] * (log_p[neighbour] - log_p[centre]) + q[neighbour] * (log_q[neighbour] - log_q[centre])
    of_edges = torch.where(edge, (margin - divergence).clamp(min=0), 0).sum(1, keepdim=True)
    of_rest = torch.where(rest, divergence, 0).sum(1, keepdim=True)
    # Multiplied and summed, not scattered, so that the order of terms is deterministic.
    members = masks[centre]
    return FieldSums((members * of_edges).sum((0, 2, 3)), (members * of_rest).sum((0, 2, 3)), edge.sum(), rest.sum())


def _places(maps: Tensor, offset: tuple[int, int], at: int) -> tuple[slice, ...]:
    """Return the indices of the pixels ``at`` offsets away from centres with both neighbours inside the map."""
    places = [slice(None), slice(None)]
    for length, step in zip(maps.shape[-2:], offset, strict=True):
        start = abs(step) + at * step
        places.append(slice(start, start + max(length - 2 * abs(step), 0)))
    return tuple(places)


class AdaptiveAffinityLoss(nn.Module):
    """Adaptive affinity fields with fixed or learned weights of the fields.

    Learned weights are a soft-max over the fields, one for every class and kind of pair. They are meant to maximize the
    loss: their gradient is reversed, so that the optimizer that minimizes everything else maximizes it over them (AAF's
    released code).

    Args:
        num_classes: C.
        sides: sides of the fields in pixels, odd.
        margin: divergence across an edge from which there is no loss.
        edge_weight: factor of the losses on edges.
        non_edge_weight: factor of the losses elsewhere.
        field_weights: ``learned``, or one weight for all fields.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        sides: Sequence[int],
        margin: float,
        edge_weight: float,
        non_edge_weight: float,
        field_weights: Literal["learned"] | float,
    ) -> None:
        super().__init__()
        self.sides, self.margin = tuple(sides), margin
        self.edge_weight, self.non_edge_weight = edge_weight, non_edge_weight
        self.field_weights = field_weights
        self.free = nn.ParameterDict()
        if field_weights == "learned":
            shape = (num_classes, len(self.sides))
            self.free.update({kind: nn.Parameter(torch.zeros(shape)) for kind in ("edge", "non_edge")})

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss of one group of images, a scalar."""
        fields = [field_sums(logits, target, side=side, margin=self.margin) for side in self.sides]
        shape = (logits.shape[1], len(fields))
        edge, non_edge = affinity_loss(
            fields,
            edge_weights=self._weights("edge", shape, logits),
            non_edge_weights=self._weights("non_edge", shape, logits),
        )
        return self.edge_weight * edge + self.non_edge_weight * non_edge

    def _weights(self, kind: str, shape: tuple[int, int], like: Tensor) -> Tensor:
        """Return the (C, K) weights of one kind of pair."""
        if self.field_weights == "learned":
            free = self.free[kind]
            return (2 * free.detach() - free).softmax(1)  # the value of ``free``, with the gradient reversed
        return torch.full(shape, self.field_weights, device=like.device)
