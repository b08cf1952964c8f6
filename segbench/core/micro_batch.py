"""Division of a batch into micro-batches for gradient accumulation. Free of torch."""

from collections.abc import Sequence


def even_sizes(batches: Sequence[int]) -> list[int]:
    """Return the micro-batch sizes, ascending, that divide every batch into the same number of equal micro-batches.

    Args:
        batches: images in each stream's batch; the sizes returned are those of the largest stream and below it.
    """
    largest = max(batches, default=0)
    counts = [count for count in range(2, largest + 1) if all(batch % count == 0 for batch in batches)]
    return sorted(largest // count for count in counts)


def cut_fault(micro_batch: int | None, batches: Sequence[int]) -> str:
    """Return why the batches cannot be divided at this micro-batch size; empty if they can or need not be."""
    if micro_batch is None or micro_batch >= max(batches, default=0) or micro_batch in even_sizes(batches):
        return ""
    name = f"a batch of {batches[0]}" if len(batches) == 1 else f"batches of {_listed(batches)}"
    sizes = even_sizes(batches)
    hint = f"possible: {_listed(sizes)}" if sizes else "no other size is possible either"
    return f"{name} images cannot be divided into equal micro-batches of {micro_batch}; {hint}"


def group_sizes(images: int, size: int | None) -> tuple[int, ...]:
    """Return the sizes of consecutive groups of ``images``; the last may be smaller, None makes one group of all."""
    size = size or images
    return tuple(min(size, images - start) for start in range(0, images, size))


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
