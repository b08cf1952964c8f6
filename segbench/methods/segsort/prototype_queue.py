"""Queue of the prototypes of the last batches."""

import torch
from torch import Tensor

from segbench.models.growing import Growing


class PrototypeQueue(Growing):
    """Queue of all prototypes of the last batches; empty at first.

    Args:
        dim: D, of the embedding.
        batches: number of batches that are kept.

    Attributes:
        vectors: (L, D) float32, oldest batch first.
        classes: (L,) int64.
        ages: (L,) int64, pushes since; 0 for the last batch.
    """

    growing = ("vectors", "classes", "ages")

    vectors: Tensor
    classes: Tensor
    ages: Tensor

    def __init__(self, dim: int, *, batches: int) -> None:
        super().__init__()
        self.batches = batches
        self.register_buffer("vectors", torch.zeros(0, dim))
        self.register_buffer("classes", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("ages", torch.zeros(0, dtype=torch.int64))

    @torch.no_grad()
    def push(self, vectors: Tensor, classes: Tensor) -> None:
        """Append the prototypes (M, D) and classes (M,) of a batch, of which there may be none, and drop the oldest."""
        if not self.batches:
            return
        kept = self.ages < self.batches - 1
        self.vectors = torch.cat([self.vectors[kept], vectors.to(self.vectors)])
        self.classes = torch.cat([self.classes[kept], classes.to(self.classes)])
        self.ages = torch.cat([self.ages[kept] + 1, self.ages.new_zeros(len(classes))])
