"""Lovász-softmax (Berman et al., CVPR 2018, arXiv 1705.08790): a continuous extension of the Jaccard loss."""

from typing import Literal

import torch
from torch import Tensor

from .pixel_anchor import class_masks
from .precision import at_least_float32


def lovasz_softmax(logits: Tensor, target: Tensor, *, classes: Literal["present", "all"] = "present") -> Tensor:
    """Return the mean over classes of the Lovász extension of 1 - IoU at the pixels' errors m_i(c) (eq. 11).

    m_i(c) is |[y_i = c] - p_i(c)| with p the soft-max probability. All labelled pixels are taken together.

    Args:
        logits: (N, C, H, W), any floating type.
        target: (N, H, W) integers; those outside 0..C-1 are ignored.
        classes: mean over the classes that are present in the labels, or over all; the loss of an absent class is its
            largest error.

    Returns:
        A scalar in float32 (float64 for float64 logits); 0 if nothing is labelled.
    """
    probabilities = at_least_float32(logits).softmax(1).transpose(0, 1).flatten(1)
    masks = class_masks(target, num_classes=logits.shape[1]).transpose(0, 1).flatten(1)
    labelled = masks.any(0)
    errors = torch.where(masks, 1 - probabilities, probabilities)
    # One class after the other, as sorting takes several times the memory of its input.
    gradients = [jaccard_gradient(each, mask, labelled) for each, mask in zip(errors.detach(), masks, strict=True)]
    losses = (errors * torch.stack(gradients)).sum(1)
    if classes == "all":
        return losses.mean()
    present = masks.any(1)
    return torch.where(present, losses, 0).sum() / present.sum().clamp(min=1)


@torch.no_grad()
def jaccard_gradient(errors: Tensor, members: Tensor, labelled: Tensor) -> Tensor:
    """Return the gradient g of the extended Jaccard loss of a class; the loss is its product with the errors (eq. 8).

    With pixels in descending order of their errors, g is what the Jaccard loss of mistaking the first k pixels adds to
    that of the first k - 1 (eq. 6 and 9). Of G members, the set without those mistaken and the set joined with the
    others mistaken hold I and U pixels: a member adds 1/U, another pixel I / (U (U - 1)). These differences are
    written out, as those of two rounded numbers near 1 would hold few digits.

    Args:
        errors: (P,) in 0..1.
        members: (P,) bool, which pixels are labelled as the class.
        labelled: (P,) bool; the others are ignored.

    Returns:
        (P,) of the errors' type, 0 where nothing is labelled.
    """
    order = torch.where(labelled, errors, -1).argsort(descending=True, stable=True)
    first = torch.arange(1, len(errors) + 1, device=errors.device)
    member = members[order]
    mistaken = member.cumsum(0)
    size = mistaken[-1]
    kept = (size - mistaken).to(errors.dtype)
    union = (size + first - mistaken).to(errors.dtype)
    # Without members every prediction is wrong, and the first mistake costs everything.
    others = torch.where(size > 0, kept / union / (union - 1).clamp(min=1), first == 1)
    steps = torch.where(member, 1 / union, others)
    return torch.empty_like(errors).scatter_(0, order, steps) * labelled
