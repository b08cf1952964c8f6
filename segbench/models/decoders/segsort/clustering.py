"""Spherical k-means (k-means of a mixture of von Mises-Fisher distributions) of pixels with their positions.

SegSort (Hwang et al. 2019, arXiv 1910.06962), section 3.1 on pixel-sorting by clustering; the places, the initial grid
and the rounds as in its released code. Nothing here has a gradient or looks at a value of a tensor.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.nn import functional as F

LEAST_NORM = 1e-6  # what a shorter vector is divided by instead of its norm, as TensorFlow does
_CHUNK_ELEMENTS = 2**25  # similarities that exist at a time


def exactly(values: Tensor) -> AbstractContextManager[object]:
    """Return a context without autocast on the device of ``values``, in which matrix products keep full precision."""
    device_type = values.device.type
    if not torch.amp.is_autocast_available(device_type):
        return nullcontext()
    return torch.autocast(device_type, enabled=False)


def unit(vectors: Tensor, *, dim: int) -> Tensor:
    """Divide ``vectors`` by their norms over ``dim``."""
    return F.normalize(vectors, dim=dim, eps=LEAST_NORM)


def cells_of_side(length: int, cells: int, *, device: torch.device | None = None) -> Tensor:
    """Return the cell of each row of a picture, (length,) int64 in 0..cells - 1.

    A cell is ``ceil(length / cells)`` long; the last one may be smaller, and there may be fewer (released code).
    """
    return torch.arange(length, device=device) // -(-length // cells)


def grid_of(rows: Tensor, columns: Tensor, *, across: int) -> Tensor:
    """Return the cell numbers of the pixels of a grid.

    Args:
        rows: (N, h) int64, the row of cells of each row of pixels.
        columns: (N, w) int64, likewise.
        across: number of columns of cells.

    Returns:
        (N, h * w) int64, cell by cell from left to right and then down.
    """
    return (rows[:, :, None] * across + columns[:, None, :]).flatten(1)


def with_places(embeddings: Tensor, rows: Tensor, columns: Tensor, *, scale: float) -> Tensor:
    """Return the vectors to cluster: normalise(concat(embedding, position)).

    Args:
        embeddings: (N, D, h, w) unit vectors.
        rows: (N, h) position of each row in its picture, in [0, 1].
        columns: (N, w), likewise.
        scale: factor of the positions.

    Returns:
        (N, h * w, D + 2) unit vectors.
    """
    height, width = embeddings.shape[-2:]
    down = (scale * rows)[:, :, None].expand(-1, -1, width)
    across = (scale * columns)[:, None, :].expand(-1, height, -1)
    places = torch.stack([down, across], dim=1).to(embeddings.dtype)
    return unit(torch.cat([embeddings, places], dim=1), dim=1).flatten(2).transpose(1, 2)


@torch.no_grad()
def spherical_kmeans(
    vectors: Tensor,
    clusters: Tensor,
    *,
    num_clusters: int,
    rounds: int,
    valid: Tensor | None = None,
    chunk: int | None = None,
) -> Tensor:
    """Cluster unit vectors by spherical k-means: centres are normalised sums, clusters those of the nearest centre.

    A cluster without members has no centre, and nobody joins it again.

    Args:
        vectors: (N, P, D) unit vectors; each of N sets is clustered by itself.
        clusters: (N, P) int64 in 0..K-1, the first clusters.
        num_clusters: K.
        rounds: how often.
        valid: (N, P) bool, which vectors count as members; None: all.
        chunk: vectors at a time; None fits them to memory.

    Returns:
        (N, P) int64, of vectors that do not count too; 0 for a set in which none counts.
    """
    size = chunk or max(1, _CHUNK_ELEMENTS // (len(vectors) * num_clusters))
    with exactly(vectors):
        for _ in range(rounds):
            sums, counts = member_sums(vectors, clusters, num_clusters=num_clusters, valid=valid, chunk=size)
            centres, empty = unit(sums, dim=2), (counts == 0)[:, None]
            parts = [
                torch.bmm(part, centres.transpose(1, 2)).masked_fill(empty, -torch.inf).argmax(2)
                for part in vectors.split(size, dim=1)
            ]
            clusters = torch.cat(parts, dim=1)
    return clusters


def member_sums(
    vectors: Tensor, clusters: Tensor, *, num_clusters: int, valid: Tensor | None = None, chunk: int | None = None
) -> tuple[Tensor, Tensor]:
    """Return sum and number of the members of each cluster, by matrix products, which add in a fixed order.

    Args:
        vectors, clusters, num_clusters, valid, chunk: as of `spherical_kmeans`.

    Returns:
        (N, K, D) and (N, K), in the type of ``vectors``.
    """
    size = chunk or max(1, _CHUNK_ELEMENTS // (len(vectors) * num_clusters))
    sums = vectors.new_zeros(len(vectors), num_clusters, vectors.shape[2])
    counts = vectors.new_zeros(len(vectors), num_clusters)
    numbers = torch.arange(num_clusters, device=vectors.device)
    with exactly(vectors):
        for place in _parts(vectors.shape[1], size):
            members = clusters[:, None, place] == numbers[:, None]
            if valid is not None:
                members = members & valid[:, None, place]
            members = members.to(vectors.dtype)
            sums = sums + torch.bmm(members, vectors[:, place])
            counts = counts + members.sum(2)
    return sums, counts


def _parts(length: int, size: int) -> Iterator[slice]:
    for start in range(0, length, size):
        yield slice(start, min(start + size, length))
