"""Options of pixel contrast. Defaults are those of the released code, without a memory bank."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from segbench.core.micro_batch import group_sizes
from segbench.core.spec import setting
from segbench.methods.supervised.options import Options as SupervisedOptions

# Defects of the released memory bank:
# - noise: the queues start with Gaussian directions, which count as keys from the first step on;
# - zero-class: class 0 is never written, and as many zero vectors as it would hold stand for it;
# - label-stride: labels are taken at 1/8 of the image whatever the embedding's stride, and the places of their pixels
#   are counted in rows of that smaller map;
# - first-pixels: for a class of n pixels the queue of pixels gets some of the image's first n, whatever they show;
# - one-step: the queue of pixels moves on by 1 after it took several;
# - self-mask: key i is no positive of anchor i, as if keys were anchors;
# - one-group: only the keys of the first group of images are kept, as buffers of the first GPU replace the others'.
Defect = Literal["noise", "zero-class", "label-stride", "first-pixels", "one-step", "self-mask", "one-group"]


class Options(SupervisedOptions):
    """Cross-entropy plus a contrastive loss of pixels. ``max_anchors`` and ``anchors_per_class`` are per group."""

    SMALL = {
        "embedding_dim": 64,
        "max_views": 20,
        "min_pixels": 21,
        "anchors_per_class": 10,
        "positives_per_anchor": 64,
        "negatives_per_anchor": 128,
        "regions_per_class": 200,
        "pixels_per_class": 1000,
    }
    SMOKE = {
        "embedding_dim": 32,
        "max_views": 10,
        "min_pixels": 11,
        "anchors_per_class": 5,
        "positives_per_anchor": 16,
        "negatives_per_anchor": 32,
        "regions_per_class": 24,
        "pixels_per_class": 240,
    }

    weight: float = setting(0.1, ge=0, description="factor of the contrastive loss")
    temperature: float = setting(0.1, gt=0, description="tau, which divides the similarities")
    base_temperature: float = setting(0.07, gt=0, description="the loss is multiplied by temperature / this")
    starts_after_steps: int = setting(5000, ge=0, counts_steps=True, description="steps without contrastive loss")
    images_per_group: int | None = setting(
        2,
        gt=0,
        description="images whose anchors are drawn and contrasted together: in the release those of one GPU, "
        "in the paper, as recalled, None: the batch",
    )
    exclude_classes: tuple[Annotated[int, Field(ge=0)], ...] = setting(
        (), description="train ids that give neither anchors nor keys"
    )
    features: Literal["concat", "last"] = setting(
        "concat", description="what is embedded: all encoder layers at the finest one's size, or the coarsest layer"
    )
    embedding_dim: int = setting(256, gt=0, description="channels of the projection head's output")
    head_init: Literal["torch", "kaiming"] = setting(
        "torch", description="how the head starts: PyTorch's default, or Kaiming normal with biases 0"
    )
    form: Literal["paper", "released"] = setting(
        "released", description="which anchors are drawn, and which keys each of them is contrasted with"
    )
    keys: Literal["batch", "memory"] = setting("batch", description="the group's anchors, or those of a memory")
    hard_anchor_share: float = setting(
        0.5, ge=0, le=1, description="share of anchors from pixels that are predicted as another class"
    )

    max_anchors: int = setting(1024, gt=0, description="released: most anchors of a group")
    max_views: int = setting(100, gt=0, description="released: most anchors of an (image, class)")
    min_pixels: int = setting(101, gt=0, description="released: fewest pixels with which an (image, class) has anchors")

    anchors_per_class: int = setting(50, gt=0, description="paper: most anchors of a class in a group")
    positives_per_anchor: int = setting(1024, gt=0, description="paper: most positives of an anchor")
    negatives_per_anchor: int = setting(2048, gt=0, description="paper: its negatives, where classes hold equally many")
    semi_hard_percent: float = setting(
        10.0,
        gt=0,
        le=100,
        description="paper: share of the farthest positives and the nearest negatives that is used",
    )

    regions_per_class: int = setting(5000, ge=0, description="memory: regions of a class")
    pixels_per_class: int = setting(5000, ge=0, description="memory: pixels of a class")
    regions_per_image: int = setting(1, ge=0, le=1, description="memory: regions of an (image, class) that it takes up")
    pixels_per_image: int = setting(10, ge=0, description="memory: most pixels of an (image, class) that it takes up")
    memory_defects: tuple[Defect, ...] = setting((), description="memory: defects of the release, for study")

    def unread(self) -> frozenset[str]:
        released = {"max_anchors", "max_views", "min_pixels"}
        paper = {"anchors_per_class", "positives_per_anchor", "negatives_per_anchor", "semi_hard_percent"}
        memory = {"regions_per_class", "pixels_per_class", "regions_per_image", "pixels_per_image", "memory_defects"}
        return frozenset((released if self.form == "paper" else paper) | (memory if self.keys == "batch" else set()))

    def across_images_of(self, images: int) -> dict[str, tuple[int, ...]]:
        return {**super().across_images_of(images), "contrasted groups": group_sizes(images, self.images_per_group)}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        faults = []
        if self.form == "paper" and self.keys == "batch":
            faults.append("form: paper takes its keys from a memory; say keys: memory")
        if self.form == "released" and self.min_pixels < self.max_views:
            faults.append(f"min_pixels ({self.min_pixels}) must not be below max_views ({self.max_views})")
        if self.keys == "memory" and not self.regions_per_class + self.pixels_per_class:
            faults.append("the memory holds nothing: regions_per_class and pixels_per_class are both 0")
        if self.memory_defects and (self.form, self.keys) != ("released", "memory"):
            faults.append("memory_defects needs form: released and keys: memory")
        if faults:
            raise ValueError("; ".join(faults))
        return self
