"""Class weights from the classes' shares of labels and pseudo-labels (SemiSeg-Contrastive, released code)."""

import torch
from torch import Tensor, nn


class ClassBalance(nn.Module):
    """Counts of the pixels of every class, and weights sqrt(median share / share).

    Labels are counted in the first ``labelled_steps`` updates alone, about one epoch; pseudo-labels in the last
    ``window`` updates.

    Args:
        num_classes: C.
        labelled_steps: n, at least 1.
        window: at least 1.
    """

    labelled: Tensor
    recent: Tensor
    total: Tensor
    updates: Tensor

    def __init__(self, num_classes: int, *, labelled_steps: int, window: int) -> None:
        super().__init__()
        self.labelled_steps, self.window = max(1, labelled_steps), max(1, window)
        self.register_buffer("labelled", torch.zeros(num_classes, dtype=torch.int64))
        self.register_buffer("recent", torch.zeros(self.window, num_classes, dtype=torch.int64))
        self.register_buffer("total", torch.zeros(num_classes, dtype=torch.int64))  # of recent
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def update(self, labels: Tensor, pseudo_labels: Tensor) -> None:
        """Count the labels and pseudo-labels of a step.

        Args:
            labels: integers of any shape; those outside 0..C-1 are not counted.
            pseudo_labels: likewise.
        """
        classes = len(self.labelled)
        self.labelled += counts(labels, classes) * (self.updates < self.labelled_steps)
        place = (self.updates % self.window)[None]
        new = counts(pseudo_labels, classes)
        self.total += new - self.recent.index_select(0, place)[0]
        self.recent.index_copy_(0, place, new[None])
        self.updates += 1

    def weights(self) -> Tensor:
        """Return the weights (C,) float32: all 1 until either store is full.

        A class without a pixel takes the largest weight of the others, at least 1. If half of the classes have none,
        which leaves no median, all weights are 1.
        """
        shares = (self.labelled + self.total).float()
        ordered = shares.sort().values
        middle = len(ordered) // 2
        median = (ordered[middle] + ordered[(len(ordered) - 1) // 2]) / 2
        seen = shares > 0
        raw = (median / shares.where(seen, 1)).sqrt()
        largest = raw.where(seen, 0).max().clamp(min=1)
        ready = (self.updates > max(self.labelled_steps, self.window)) & (median > 0)
        return raw.where(seen, largest).where(ready, 1)


def counts(labels: Tensor, num_classes: int) -> Tensor:
    """Return how many labels each of C classes has, int64 (C,); others are not counted."""
    flat = labels.flatten()
    inside = (flat >= 0) & (flat < num_classes)
    found = torch.zeros(num_classes + 1, dtype=torch.int64, device=labels.device)
    return found.scatter_add_(0, flat.where(inside, num_classes), torch.ones_like(flat))[:-1]
