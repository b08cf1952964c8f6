"""Cutting a batch into parts that pass through the network one after the other. Free of torch."""

from collections.abc import Sequence


def even_sizes(batches: Sequence[int]) -> list[int]:
    """Sizes below the largest batch that cut every batch into equally many whole parts, ascending.

    Args:
        batches: images of each stream's batch; the sizes are those of the largest stream's parts.
    """
    largest = max(batches, default=0)
    parts = [count for count in range(2, largest + 1) if all(batch % count == 0 for batch in batches)]
    return sorted(largest // count for count in parts)


def cut_fault(micro_batch: int | None, batches: Sequence[int]) -> str:
    """Why batches cannot be cut at so many images; nothing if they can, or need not be."""
    if micro_batch is None or micro_batch >= max(batches, default=0) or micro_batch in even_sizes(batches):
        return ""
    name = f"a batch of {batches[0]}" if len(batches) == 1 else f"batches of {_listed(batches)}"
    fits = even_sizes(batches)
    way = f"at {_listed(fits)} it can" if fits else "no other size does either"
    return f"{name} images cannot be cut into equal parts at {micro_batch}; {way}"


def group_sizes(images: int, size: int | None) -> tuple[int, ...]:
    """Sizes of the groups of images that follow one another; the last may be smaller, None is one group of all."""
    size = size or images
    return tuple(min(size, images - start) for start in range(0, images, size))


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
