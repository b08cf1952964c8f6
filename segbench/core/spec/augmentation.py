"""Augmentation of training samples and batches."""

import math
from typing import Literal, Self

from pydantic import model_validator

from .base import Spec, setting


class JitterSpec(Spec):
    """Colour jitter of RGB images in [0, 1].

    Contrast and saturation are ranges of factors, hue is a fraction of a full turn. Brightness is a range of factors in
    the styles torchvision and simclr, and of offsets in kornia041 and mmseg. Operations without a range are skipped;
    two styles have default ranges:

    - simclr: torchvision's operations with ranges derived from ``strength`` s (0.8 s, and 0.2 s for the hue), with
      probability 0.8; grey with probability 0.2 (SimCLR, appendix A).
    - mmseg: the ranges of MMSegmentation's PhotoMetricDistortion, each operation with probability 0.5.
    """

    brightness: tuple[float, float] | None = None
    contrast: tuple[float, float] | None = None
    saturation: tuple[float, float] | None = None
    hue: tuple[float, float] | None = None
    probability: float | None = setting(None, ge=0, le=1, description="None: default of the style, or 1")
    style: Literal["torchvision", "kornia041", "simclr", "mmseg"] = "torchvision"
    grey: float | None = setting(
        None, ge=0, le=1, description="probability of a grey image; None: default of the style, or 0"
    )
    strength: float = setting(1.0, gt=0, le=2.5, description="of the style simclr")

    def ranges(self) -> dict[str, tuple[float, float]]:
        """Return the range of every operation that is applied."""
        style: dict[str, tuple[float, float]] = {}
        if self.style == "simclr":
            factors = max(0.0, 1 - 0.8 * self.strength), 1 + 0.8 * self.strength
            style = dict.fromkeys(("brightness", "contrast", "saturation"), factors)
            style["hue"] = -0.2 * self.strength, 0.2 * self.strength
        elif self.style == "mmseg":
            style = {"brightness": (-32 / 255, 32 / 255), "contrast": (0.5, 1.5), "saturation": (0.5, 1.5)}
            style["hue"] = -0.1, 0.1
        given = {name: getattr(self, name) for name in ("brightness", "contrast", "saturation", "hue")}
        return style | {name: bounds for name, bounds in given.items() if bounds is not None}

    def chances(self) -> tuple[float, float]:
        """Return the probabilities of the jitter and of a grey image after it."""
        jittered, grey = {"simclr": (0.8, 0.2), "mmseg": (0.5, 0.0)}.get(self.style, (1.0, 0.0))
        return jittered if self.probability is None else self.probability, grey if self.grey is None else self.grey

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        lowest = {"brightness": -1.0 if self.style in ("kornia041", "mmseg") else 0.0, "hue": -0.5}
        highest = {"hue": 0.5}
        for name, (low, high) in self.ranges().items():
            if not lowest.get(name, 0.0) <= low <= high <= highest.get(name, math.inf):
                raise ValueError(f"{low} to {high} is not a valid range of {name} in the style {self.style}")
        return self


class BlurSpec(Spec):
    """Gaussian blur with a normalized kernel of ``kernel`` x ``kernel`` pixels."""

    probability: float = setting(1.0, ge=0, le=1)
    kernel: int = setting(gt=0, description="side of the kernel in pixels, odd")
    sigma: tuple[float, float] | None = setting(
        None, description="range of standard deviations in pixels; drawn once per image for both directions"
    )
    axes: tuple[float, float] | None = setting(
        None, description="fixed standard deviations in pixels, vertical and horizontal"
    )
    border: Literal["reflect", "replicate"] = setting("reflect", description="reflect does not repeat the edge pixel")

    @model_validator(mode="after")
    def _one_width(self) -> Self:
        if self.kernel % 2 == 0:
            raise ValueError(f"the kernel must be odd. Got {self.kernel} instead")
        if (self.sigma is None) == (self.axes is None):
            raise ValueError("a blur requires either sigma or axes")
        if any(width <= 0 for width in self.sigma or self.axes or ()):
            raise ValueError("standard deviations must be above 0")
        if self.sigma is not None and self.sigma[0] > self.sigma[1]:
            raise ValueError(f"sigma must be an ascending range. Got {self.sigma} instead")
        return self


class ClassUniformSpec(Spec):
    """Class-uniform sampling of crops, mixed with random ones (HANet's released code, datasets/uniform.py).

    Of the n samples of an epoch each of C classes gets ``int(n * share / C)`` crops around a centroid of the class in
    one tile of an image. The remaining samples, and those of classes that no image contains, are random crops.
    """

    share: float = setting(gt=0, le=1, description="fraction of the samples of an epoch")
    tile: int = setting(
        gt=0,
        description="side of a tile in pixels, before any resizing by data.scale; the number of tiles per side of an "
        "image is rounded",
    )


class AugmentationSpec(Spec):
    """Augmentation of a training sample between the file and the network.

    Order: scale, rotation, crop, flip and padding of each sample; then, on the batch, ClassMix, jitter, grey,
    brightness shift and blur. With ``decisions: batch`` samples are only cropped (and padded), and the batch goes
    through ClassMix, scale with crop or centred padding, flip, jitter and blur, where every decision, the scale and the
    crop are drawn once per batch. Jitter factors are drawn per image in either case.
    """

    scale: tuple[float, float] = (1.0, 1.0)
    scale_step: float | None = setting(None, gt=0, description="scales are multiples of this; None: continuous")
    scale_probability: float = setting(1.0, ge=0, le=1)
    aspect: tuple[float, float] = (1.0, 1.0)
    flip: float = setting(0.0, ge=0, le=1, description="probability of a horizontal flip")
    max_class_share: float | None = setting(
        None, gt=0, le=1, description="a crop is redrawn if one class covers more of it than this fraction"
    )
    crop_draws: int = setting(10, ge=1)
    class_uniform: ClassUniformSpec | None = setting(None, description="crops around the centroids of classes")
    jitter: JitterSpec | None = None
    brightness_shift: int = setting(0, ge=0, le=255, description="an integer in +-this range is added to all channels")
    blur: BlurSpec | None = None
    rotation: float = setting(
        0.0, ge=0, le=180, description="maximum angle in degrees to either side, around the image centre"
    )
    rotation_probability: float = setting(1.0, ge=0, le=1)
    classmix: float = setting(0.0, ge=0, le=1, description="probability of ClassMix")
    classmix_skips: tuple[int, ...] = setting((), description="classes that are pasted only if no others are present")
    interpolation: Literal["bilinear", "bicubic", "pillow_bicubic", "lanczos"] = setting(
        "bilinear", description="of scaled images; pillow_bicubic and lanczos are antialiased like Pillow's"
    )
    padding: Literal["end", "centre", "random"] = setting(
        "end", description="position of a sample smaller than its crop; end: padding at the bottom and right"
    )
    padding_colour: Literal["mean", "black"] = setting("mean", description="also fills the corners after a rotation")
    decisions: Literal["image", "batch"] = setting(
        "image", description="random decisions are drawn per image or once per batch"
    )
    applied_by: Literal["loader", "method"] = setting(
        "loader", description="method: samples are only cropped, the method augments them with labels of its own"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in ("scale", "aspect"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"{name} must be an ascending range of positive factors. Got {(low, high)} instead")
        per_image = ("aspect", "rotation", "interpolation", "max_class_share", "class_uniform")
        wrong = [name for name in per_image if getattr(self, name) != type(self).model_fields[name].default]
        if self.decisions == "batch" and wrong:
            raise ValueError(f"decisions: batch cannot be combined with {', '.join(wrong)}")
        if self.applied_by == "method" and self.decisions != "batch":
            raise ValueError("applied_by: method requires decisions: batch")
        if self.rotation and self.interpolation in ("pillow_bicubic", "lanczos"):
            raise ValueError(f"interpolation {self.interpolation} cannot be combined with rotation")
        if self.rotation and self.class_uniform is not None:
            raise ValueError(
                "class_uniform cannot be combined with rotation, which may move a centroid out of its crop"
            )
        return self
