"""MobileNetV3-Large (Howard et al. 2019, arXiv 1905.02244, table 1) without the layers after its pooling.

Layers of 24, 40, 112, 960 channels (times ``width``), the last after a 1x1 convolution with hard-swish.
"""

from timm.models.mobilenetv3 import _gen_mobilenet_v3

from segbench.models.backbones.mobilenet import MobileNet
from segbench.models.segmentor import Backbone

from .options import Options


def build(options: Options, *, align_corners: bool) -> Backbone:
    """Build the backbone; ``align_corners`` is ignored, as nothing is resized."""
    return MobileNet(_gen_mobilenet_v3, "mobilenetv3_large_100", options=options)
