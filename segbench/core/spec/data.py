"""Images and labels, subsets of them, and the streams of batches that a stage is trained on."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, model_validator

from .augmentation import AugmentationSpec
from .base import Size, Spec, setting


def _once(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names or len(set(names)) < len(names):
        raise ValueError("streams must name at least one stream, each once")
    return names


StreamNames = Annotated[tuple[str, ...], AfterValidator(_once)]  # streams that a method joins to one batch


class SubsetSpec(Spec):
    """The labelled images of a split that are used.

    - ``random``: ``count`` images drawn with the seed ``draw``.
    - ``permutation``: the first ``count`` of the published permutation ``draw`` of the sorted list (order: released).
    - ``shards``: the first ``take_shards`` of ``num_shards`` shards of the list, which is sorted or is shuffled with
      the seed ``draw``; all shards but the last are of equal length.
    - ``balanced``: drawn with the seed ``draw``, rarest class first: the one that the fewest images contain.
    - ``list``: the images with the names ``keys``, such as ``train/0001TP_006690``.
    """

    count: int = setting(gt=0)
    rule: Literal["permutation", "shards", "random", "balanced", "list"] = "random"
    order: Literal["released", "sorted", "shuffled"] = "sorted"
    draw: int | None = setting(
        0, ge=0, description="index of the published permutation, or seed of a random draw; None: the training's seed"
    )
    num_shards: int | None = setting(None, gt=0)
    take_shards: int | None = setting(None, gt=0)
    keys: tuple[str, ...] = setting((), description="names of the images, for rule list")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        orders = {"permutation": ("released",), "shards": ("sorted", "shuffled")}.get(self.rule, ("sorted",))
        if self.order not in orders:
            raise ValueError(f"rule {self.rule} requires order {' or '.join(orders)}, got {self.order}")
        given = [value for value in (self.num_shards, self.take_shards) if value is not None]
        if self.rule == "shards" and (len(given) < 2 or given[1] > given[0]):
            raise ValueError("rule shards requires num_shards and a take_shards that is no larger")
        if self.rule != "shards" and given:
            raise ValueError(f"num_shards and take_shards cannot be combined with rule {self.rule}")
        if (self.rule == "list") != bool(self.keys):
            raise ValueError("rule list requires keys, and no other rule has them")
        twice = [key for key in dict.fromkeys(self.keys) if self.keys.count(key) > 1]
        if twice:
            raise ValueError(f"keys names {', '.join(twice[:3])} more than once")
        if list(self.keys) != sorted(self.keys):
            raise ValueError("keys must be sorted: the same images are the same subset")
        if self.keys and self.count != len(self.keys):
            raise ValueError(f"count is {self.count}, but keys names {len(self.keys)} images")
        return self


class DataSpec(Spec):
    """Images and labels, before any augmentation."""

    name: str
    source: Literal["folder", "generated"] = "folder"
    classes: str | None = setting(None, description="variant of the class table, e.g. pascal-context-59")
    splits: tuple[str, ...] = ("train",)
    scale: float = setting(1.0, gt=0, le=4, description="whole images are first resized by this factor")
    size: Size | None = setting(None, description="whole images are first resized to this size")
    resize: Literal["area", "bilinear", "lanczos"] = setting(
        "area", description="area: mean when shrinking, plain bilinear otherwise; the other two as in Pillow"
    )
    subset: SubsetSpec | None = None
    unlabelled_rest: bool = setting(False, description="the images outside the subset, without labels")
    images: int | None = setting(None, gt=0, description="number of images to generate (generated source only)")
    labels_from: str | None = setting(
        None, description="earlier stage whose network gives the labels in the end, in place of the data set's own"
    )
    labels_threshold: float | None = setting(
        None, ge=0, le=1, description="pixels of which that network is less sure have no label; None: all have one"
    )

    def without_labels_from(self) -> Self:
        """Return the spec of the same images with the data set's own labels."""
        return self.model_copy(update={"labels_from": None, "labels_threshold": None})

    @model_validator(mode="after")
    def _threshold_of_labels(self) -> Self:
        if self.labels_threshold is not None and self.labels_from is None:
            raise ValueError("labels_threshold needs labels_from")
        return self


class StreamSpec(Spec):
    """One sequence of batches of a stage. ``batch_total`` counts images over all devices."""

    data: DataSpec
    crop: Size
    batch_total: int = setting(gt=0)
    augmentation: AugmentationSpec = AugmentationSpec()

    @model_validator(mode="after")
    def _blur_fits(self) -> Self:
        blur = self.augmentation.blur
        if blur is not None and min(self.crop) <= blur.kernel // 2:
            raise ValueError(f"a blur of {blur.kernel} pixels does not fit into a crop of {self.crop}")
        return self
