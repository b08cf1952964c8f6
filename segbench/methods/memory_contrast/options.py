"""Options of SemiSeg-Contrastive's method. Defaults are those of the released code of July 2021."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from segbench.core.spec import Options as BaseOptions
from segbench.core.spec import setting

Weight = Annotated[float, Field(ge=0)]


class Options(BaseOptions):
    """Labelled and unlabelled images, a teacher, and a memory of vectors of every class."""

    # An optimiser with steps of its own is set by these budgets, for which updates by name are not meant.
    SMALL = {"embedding_dim": 64, "hidden_dim": 64, "memory_size_per_class": 128, "duplicate_updates": False}
    SMOKE = {"embedding_dim": 32, "hidden_dim": 32, "memory_size_per_class": 32, "duplicate_updates": False}

    across_images: ClassVar[tuple[str, ...]] = ("memory contrast", "class weights")
    whole_batches: ClassVar[str | None] = "it augments and mixes all images of a batch together"

    teacher_momentum: float = setting(0.995, ge=0, le=1, description="at first; rises to 1 along a cosine")
    teacher_warmup_factor: float = setting(
        10.0, ge=0, description="the momentum of step t is limited to 1 - 1 / (factor t + 1)"
    )
    teacher_mode: Literal["train", "eval"] = setting(
        "train", description="train: the teacher takes the statistics of its batch, and its dropout is active"
    )
    views: int = setting(2, ge=1, description="independent strong augmentations of each unlabelled image")
    pseudo_label_weight: Weight = 1.0
    confidence_power: Weight = setting(6.0, description="a pixel counts by its confidence to this power")
    ramp_up_steps: int = setting(
        2000, ge=0, counts_steps=True, description="steps T of the pseudo-labels' factor exp(-5 (1 - t/T)^2)"
    )
    entropy_weight: Weight = 0.01
    entropy_broadcast: bool = setting(
        True, description="the entropy is summed over all pairs of masks and images, see losses/entropy"
    )
    labelled_contrast_weight: Weight = 0.1
    unlabelled_contrast_weight: Weight = 0.1
    contrast_from_steps: int = setting(2000, ge=0, counts_steps=True, description="the contrast begins after this step")
    classmix_from_steps: int = setting(
        2000, ge=0, counts_steps=True, description="unlabelled images are mixed after this step"
    )
    class_weights: Literal["sqrt_median_frequency"] | None = setting(
        None, description="weights from the classes' shares of labels and pseudo-labels"
    )
    class_weights_from_steps: int = setting(2000, ge=0, counts_steps=True, description="and after which step")
    memory_from_steps: int = setting(1000, ge=0, counts_steps=True, description="the memory is filled after this step")
    memory_size_per_class: int = setting(256, gt=1)
    memory_confidence: float = setting(
        0.95, ge=0, le=1, description="a pixel enters above this confidence of a teacher that is right"
    )
    memory_new_per_image: int = setting(1, gt=0, description="most new vectors of a class and a labelled image")
    memory_rank: Literal["lowest", "highest"] = setting("lowest", description="scores that enter if too many qualify")
    memory_weights: Literal["ones", "rescaled"] = setting(
        "ones", description="rescaled: vectors of the memory are weighted by a selector of their own"
    )
    embedding_dim: int = setting(256, gt=0)
    hidden_dim: int = setting(256, gt=0)
    selector_slope: float = setting(0.2, ge=0, description="of the leaky ReLU")
    duplicate_updates: bool = setting(
        True, description="a step updates a weight as often as the released optimiser's list holds it"
    )
    norm_refresh_steps: int = setting(
        1000, ge=0, counts_steps=True, description="unlabelled batches that refresh the statistics of the best weights"
    )
    restart_after_steps: int | None = setting(
        30000, gt=0, counts_steps=True, description="steps without improvement after which the best weights come back"
    )
    source_period: int | None = setting(
        None, gt=1, description="every how many steps the labelled batch is one of the source domain"
    )
    source_from_steps: int = setting(0, ge=0, counts_steps=True, description="the first step that may be such a one")
    source_until_last_steps: int = setting(
        0, ge=0, counts_steps=True, description="number of steps at the end that take the target alone"
    )
    source_labels: Literal["own", "stale"] = setting(
        "own", description="labels that a source batch is contrasted with; stale: those of the target batch before"
    )

    @model_validator(mode="after")
    def _memory_before_contrast(self) -> Self:
        if self.memory_from_steps > self.contrast_from_steps:
            raise ValueError("memory_from_steps is after contrast_from_steps: there would be nothing to contrast with")
        return self

    @property
    def contrasts(self) -> bool:
        """True if there is a contrastive loss."""
        return self.labelled_contrast_weight > 0 or self.unlabelled_contrast_weight > 0

    def takes_source(self, step: int, steps: int) -> bool:
        """Return True if the labelled batch of a step is one of the source domain: the last of each period."""
        if self.source_period is None or (step + 1) % self.source_period:
            return False
        return self.source_from_steps <= step < steps - self.source_until_last_steps
