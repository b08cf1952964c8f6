"""MobileNet (Howard et al. 2017, arXiv 1704.04861, table 1) without its classifier.

Layers of 128, 256, 512, 1024 channels (times ``width``), all after ReLU6.
"""

from timm.models.efficientnet import _gen_mobilenet_v1

from segbench.models.backbones.mobilenet import MobileNet
from segbench.models.segmentor import Backbone

from .options import Options


def build(options: Options, *, align_corners: bool) -> Backbone:
    """Build the backbone; ``align_corners`` means nothing here, as nothing is resized."""
    return MobileNet(_gen_mobilenet_v1, "mobilenetv1_100", options=options)
