"""A network, its input and its initial weights."""

from typing import Literal

from .base import Spec, setting
from .choice import Choice


class InputSpec(Spec):
    """Input of a network: channel order and normalization of images in [0, 1]."""

    channels: Literal["rgb", "bgr"] = "rgb"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)


class ModelSpec(Spec):
    """A segmentation network: backbone and decoder, each by registered name with its options."""

    backbone: Choice
    decoder: Choice
    align_corners: bool = False
    input: InputSpec = InputSpec()


class WeightsSpec(Spec):
    """Initial weights of a training."""

    backbone: str = setting("random", description="random, imagenet or coco")
    file: str | None = setting(None, description="the published file, by its name in `segbench weights list`")
    classifier: bool = setting(False, description="the file's classifier too, which must be of the same classes")
