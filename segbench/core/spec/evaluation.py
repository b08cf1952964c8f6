"""Scoring of a trained network: the protocol of an evaluation, image padding and feature statistics."""

from typing import Literal, Self

from pydantic import model_validator

from .base import Size, Spec, digest, setting
from .data import DataSpec


class PadSpec(Spec):
    """Padding of images with the mean colour, to sizes that a network was made for.

    The padded border is cut off the prediction again.
    """

    multiple: int = setting(1, gt=0, description="each side becomes ``multiple * k + plus``; PSPNet has 8 and 1")
    plus: int = setting(0, ge=0)
    to_window: bool = setting(False, description="an image smaller than the window is padded up to it")
    where: Literal["end", "both"] = setting("end", description="right and bottom, or half of it on either side")


class FeatureSpec(Spec):
    """Features of labelled pixels, measured on whole images at their own size, at the resolution of the feature map."""

    layer: int | None = setting(
        None, ge=1, description="encoder layer, 1 is the finest; None: the input of the last 1x1 classifier"
    )
    length: Literal["raw", "unit"] = setting("raw", description="features as they are, or scaled to unit length")
    per_class: int = setting(
        2000, ge=2, material=False, description="sampled pixels of a class for distances; centres use all pixels"
    )
    seed: int = setting(0, ge=0, material=False, description="of the sampling of these pixels")


class EvaluationSpec(Spec):
    """Evaluation protocol of a trained network.

    Predictions are always scored at the size of the label. ``short_side``, ``max_side``, ``multiple_of`` and ``pad``
    change the input image only, in this order, for each of ``scales``.
    """

    data: DataSpec
    mode: Literal["whole", "slide"] = "whole"
    window: Size | None = None
    stride: Size | None = None
    placing: Literal["border", "even"] = setting(
        "border", description="border: a stride apart, the last at the image border; even: as many, evenly spaced"
    )
    overlap: Literal["logits", "probabilities", "sum"] = setting(
        "logits",
        description="what is averaged where windows overlap; sum: logits are added up, without dividing by the count",
    )
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    mirror: Literal["image", "window"] = setting(
        "image", description="image: windows are cut from the mirrored image; window: every window is mirrored"
    )
    mirrored: Literal["probabilities", "logits"] = setting(
        "probabilities",
        description="how a window and its mirror image are combined with overlap probabilities: mean of both "
        "softmaxes, or softmax of the summed logits",
    )
    short_side: int | None = setting(
        None, gt=0, description="short side of the image at scale 1; the aspect ratio is kept"
    )
    max_side: int | None = setting(None, gt=0, description="upper limit of the long side that short_side results in")
    multiple_of: int | None = setting(None, gt=0, description="both sides are enlarged to a multiple of this")
    pad: PadSpec | None = None
    enlarge: Literal["once", "twice"] = setting(
        "once", description="once: logits are resized to the label; twice: to the input image first (mmsegmentation)"
    )
    fuse: Literal["logits", "probabilities", "exp_logits"] = setting(
        "probabilities",
        description="what is averaged over scales; exp_logits: logits averaged with those of the mirror image, then "
        "their exponentials resized to the label",
    )
    absent: Literal["exclude", "zero", "one"] = setting(
        "exclude", description="IoU of a class that occurs neither in labels nor in predictions"
    )
    checkpoint: Literal["last", "best"] = "last"
    features: FeatureSpec | None = None

    @model_validator(mode="after")
    def _features_of_whole_images(self) -> Self:
        resized = (self.short_side, self.multiple_of, self.pad) != (None, None, None)
        if self.features is not None and (self.mode == "slide" or resized):
            raise ValueError(
                "features are measured on whole images at their own size; they cannot be combined with mode slide, "
                "short_side, multiple_of or pad"
            )
        return self

    @model_validator(mode="after")
    def _windows(self) -> Self:
        if self.mode == "slide" and self.window is None:
            raise ValueError("mode slide requires a window")
        if self.window is not None and self.stride is not None:
            gaps = [step > side for step, side in zip(self.stride, self.window, strict=True)]
            if any(gaps):
                raise ValueError(f"stride {self.stride} is larger than window {self.window}: it would leave gaps")
        if self.overlap == "probabilities" and self.fuse != "probabilities":
            raise ValueError(f"windows averaged as probabilities cannot be fused as {self.fuse}")
        if self.overlap == "sum" and self.fuse != "logits":
            raise ValueError(f"windows that are summed cannot be fused as {self.fuse}")
        if self.mirrored == "logits" and (self.mirror, self.overlap) != ("window", "probabilities"):
            raise ValueError("mirrored logits requires mirror window and overlap probabilities")
        if self.max_side is not None and (self.short_side is None or self.max_side < self.short_side):
            raise ValueError("max_side requires a short_side that is no larger")
        return self


def evaluation_id(training: str, evaluation: EvaluationSpec) -> str:
    """Return the id of an evaluation: digest of a training's (or foreign checkpoint's) id and the protocol."""
    return digest({"training": training, "evaluation": evaluation.canonical()})
