"""Published class weights of the cross-entropy, by name; free of torch."""

CLASS_WEIGHTS: dict[str, tuple[float, ...]] = {
    # Class table cityscapes. Released configurations of Pissas et al. (ECCV 2022, arXiv 2203.13409) and, with the same
    # numbers, of ContrastiveSeg (ICCV 2021, arXiv 2101.11939).
    "cityscapes": (
        *(0.8373, 0.918, 0.866, 1.0345, 1.0166, 0.9969, 0.9754, 1.0489, 0.8786, 1.0023),
        *(0.9539, 0.9843, 1.1116, 0.9037, 1.0865, 1.0955, 1.0865, 1.1529, 1.0507),
    ),
}


def resolve_class_weights(weights: str | tuple[float, ...] | None) -> tuple[float, ...] | None:
    """Return class weights that are given directly or by name.

    Raises:
        ValueError: no weights of that name are known.
    """
    if not isinstance(weights, str):
        return weights
    if weights not in CLASS_WEIGHTS:
        raise ValueError(f"No class weights {weights!r}. Known: {', '.join(sorted(CLASS_WEIGHTS))}.")
    return CLASS_WEIGHTS[weights]
