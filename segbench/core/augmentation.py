"""What is done to training samples and batches, as frozen, torch-free types."""

import math
from typing import Literal, Self

from pydantic import model_validator

from .fields import Spec, setting


class JitterSpec(Spec):
    """Colour jitter of RGB images in [0, 1].

    Contrast and saturation are ranges of factors, hue a share of a full turn. Brightness is a range of factors in the
    styles torchvision and simclr, and of what is added in kornia041 and mmseg. What is not said is left out, but for

    - simclr: torchvision's operations with ranges that follow from ``strength`` s (0.8 s, and 0.2 s for the hue), with
      probability 0.8; one image in five is grey (SimCLR, appendix A).
    - mmseg: the ranges of MMSegmentation's PhotoMetricDistortion, each operation with probability 0.5.
    """

    brightness: tuple[float, float] | None = None
    contrast: tuple[float, float] | None = None
    saturation: tuple[float, float] | None = None
    hue: tuple[float, float] | None = None
    probability: float | None = setting(None, ge=0, le=1, description="None: the style's, else 1")
    style: Literal["torchvision", "kornia041", "simclr", "mmseg"] = "torchvision"
    grey: float | None = setting(None, ge=0, le=1, description="probability of a grey image; None: the style's, else 0")
    strength: float = setting(1.0, gt=0, le=2.5, description="of the style simclr")

    def ranges(self) -> dict[str, tuple[float, float]]:
        """The range of every operation that takes place."""
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
        """Probability of the jitter, and of a grey image after it."""
        jittered, grey = {"simclr": (0.8, 0.2), "mmseg": (0.5, 0.0)}.get(self.style, (1.0, 0.0))
        return jittered if self.probability is None else self.probability, grey if self.grey is None else self.grey

    @model_validator(mode="after")
    def _sense(self) -> Self:
        lowest = {"brightness": -1.0 if self.style in ("kornia041", "mmseg") else 0.0, "hue": -0.5}
        highest = {"hue": 0.5}
        for name, (low, high) in self.ranges().items():
            if not lowest.get(name, 0.0) <= low <= high <= highest.get(name, math.inf):
                raise ValueError(f"{low} to {high} is no range of {name} in the style {self.style}")
        return self


class BlurSpec(Spec):
    """Gaussian blur in a window of ``kernel`` pixels, with weights that sum to 1."""

    probability: float = setting(1.0, ge=0, le=1)
    kernel: int = setting(gt=0, description="odd side of the window in pixels")
    sigma: tuple[float, float] | None = setting(
        None, description="range of standard deviations in pixels; each image draws one for both directions"
    )
    axes: tuple[float, float] | None = setting(
        None, description="fixed standard deviations in pixels, down the columns and along the rows"
    )
    border: Literal["reflect", "replicate"] = setting("reflect", description="reflect does not repeat the edge")

    @model_validator(mode="after")
    def _one_width(self) -> Self:
        if self.kernel % 2 == 0:
            raise ValueError(f"a kernel of {self.kernel} has no middle; an odd number is wanted")
        if (self.sigma is None) == (self.axes is None):
            raise ValueError("a blur wants either sigma or axes")
        if any(width <= 0 for width in self.sigma or self.axes or ()):
            raise ValueError("standard deviations are above 0")
        if self.sigma is not None and self.sigma[0] > self.sigma[1]:
            raise ValueError(f"sigma {self.sigma[0]} to {self.sigma[1]} is no range")
        return self


class ClassUniformSpec(Spec):
    """Crops that show every class equally often, beside random ones (HANet's released code, datasets/uniform.py).

    Of the n samples of an epoch each of C classes gets ``int(n * share / C)``, whose crops show a centroid of the class
    in one tile of an image; the others, and those of a class that no image shows, are random crops of random images.
    """

    share: float = setting(gt=0, le=1, description="of an epoch's samples")
    tile: int = setting(
        gt=0,
        description="side of a tile in pixels, before data.scale where that resizes the images; each side of an image "
        "has the nearest whole number of tiles",
    )


class AugmentationSpec(Spec):
    """What is done to a training sample between the file and the network.

    Order: scale, rotation, crop, flip and padding of each sample by itself; then, in the batch, ClassMix, jitter,
    grey, brightness shift and blur. With ``decisions: batch`` samples are merely cropped (and padded), and the batch
    goes through ClassMix, scale with crop or centred padding, flip, jitter and blur, where each yes or no, the scale
    and the crop are drawn once for all of its images; factors of the jitter are an image's own in either case.
    """

    scale: tuple[float, float] = (1.0, 1.0)
    scale_step: float | None = setting(None, gt=0, description="scales are multiples of this; None: continuous")
    scale_probability: float = setting(1.0, ge=0, le=1)
    aspect: tuple[float, float] = (1.0, 1.0)
    flip: float = setting(0.0, ge=0, le=1, description="probability of a horizontal flip")
    max_class_share: float | None = setting(None, gt=0, le=1, description="crops are drawn again above this")
    crop_draws: int = setting(10, ge=1)
    class_uniform: ClassUniformSpec | None = setting(None, description="crops around the centroids of classes")
    jitter: JitterSpec | None = None
    brightness_shift: int = setting(0, ge=0, le=255, description="one integer in +-this added to all channels")
    blur: BlurSpec | None = None
    rotation: float = setting(0.0, ge=0, le=180, description="degrees to either side, about the image's middle")
    rotation_probability: float = setting(1.0, ge=0, le=1)
    classmix: float = setting(0.0, ge=0, le=1, description="probability of ClassMix")
    classmix_skips: tuple[int, ...] = setting((), description="classes not pasted where there are any others")
    interpolation: Literal["bilinear", "bicubic", "pillow_bicubic", "lanczos"] = setting(
        "bilinear", description="of scaled images; the last two, Pillow's, average over more pixels when they shrink"
    )
    padding: Literal["end", "centre", "random"] = setting(
        "end", description="where a sample lies that is smaller than its crop; end: padded below and at the right"
    )
    padding_colour: Literal["mean", "black"] = setting("mean", description="also of what a rotation uncovers")
    decisions: Literal["image", "batch"] = setting("image", description="whether a batch's images decide together")
    applied_by: Literal["loader", "method"] = setting(
        "loader", description="method: samples are merely cropped, the method does the rest with labels of its own"
    )

    @model_validator(mode="after")
    def _sense(self) -> Self:
        for name in ("scale", "aspect"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"{name} {low} to {high} is no range of positive factors")
        alone: dict[str, object] = {"aspect": (1.0, 1.0), "rotation": 0.0, "interpolation": "bilinear"}
        alone |= {"max_class_share": None, "class_uniform": None}
        wrong = [name for name, value in alone.items() if getattr(self, name) != value]
        if self.decisions == "batch" and wrong:
            raise ValueError(f"decisions of a batch do not go with {', '.join(wrong)}")
        if self.applied_by == "method" and self.decisions != "batch":
            raise ValueError("what a method applies is decided for a batch; decisions: batch is wanted")
        if self.rotation and self.interpolation in ("pillow_bicubic", "lanczos"):
            raise ValueError(f"{self.interpolation} does not go with rotation")
        if self.rotation and self.class_uniform is not None:
            raise ValueError("class_uniform does not go with rotation, which may turn a centroid out of its crop")
        return self
