"""Options of CFN's method."""

from typing import Literal

from segbench.core.spec import Options as BaseOptions
from segbench.core.spec import setting


class Options(BaseOptions):
    """Cross-entropy, Dice loss, and contrast with the features of an earlier stage's network."""

    # The networks of these budgets are narrowed one by one, so that their features differ in width.
    SMALL = {"teacher_projection": "conv1x1"}
    SMOKE = {"teacher_projection": "conv1x1"}

    teacher_stage: str | None = setting(
        None, description="earlier stage whose network is the teacher; None: no teacher"
    )
    teacher_mode: Literal["eval", "train"] = setting(
        "eval", description="train: batch statistics and dropout of the frozen teacher are active"
    )
    student_features: Literal["stage4"] = setting("stage4", description="features of the student: the coarsest layer")
    teacher_features: Literal["head", "concat", "coarsest"] = setting(
        "head",
        description="head: what the classifier reads; concat: all layers at the size of the finest; coarsest: the "
        "coarsest layer; averaged down to the student's size",
    )
    teacher_projection: Literal["none", "conv1x1"] = setting(
        "none", description="conv1x1: a trained convolution to the student's channels"
    )
    form: Literal["info_nce", "column_sums", "spatial"] = setting("info_nce", description="see losses/fusion_contrast")
    contrast_weight: float = setting(0.1, ge=0)
    temperature: float = setting(0.07, gt=0, description="tau, which divides the similarities")
    dice_weight: float = setting(1e-6, ge=0, description="of the Dice loss, pooled over classes and batch")
    double_softmax: bool = setting(False, description="the cross-entropy takes probabilities for logits")

    def needs_stages(self) -> tuple[str, ...]:
        return () if self.teacher_stage is None else (self.teacher_stage,)

    def across_images_of(self, images: int) -> dict[str, tuple[int, ...]]:
        found: dict[str, tuple[int, ...]] = {"Dice loss": (images,)} if self.dice_weight else {}
        if self.teacher_stage is not None and self.contrast_weight and self.form != "spatial":
            found["contrasted images"] = (images,)
        return found

    def unread(self) -> frozenset[str]:
        if self.teacher_stage is not None:
            return frozenset() if self.contrast_weight else frozenset({"form", "temperature"})
        return frozenset(
            {"teacher_mode", "teacher_features", "teacher_projection", "form", "contrast_weight", "temperature"}
        )
