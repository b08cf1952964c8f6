"""DeepLabV2 of SemiSeg-Contrastive that started from COCO weights (model/deeplabv2.py).

Its tensors are called and shaped as those of a DeepLabV2 that started from ImageNet weights, so that nobody but the
user can say it. What differs: the stride of a stage is in its first 1x1 convolution, the pooling of the stem rounds
sizes up, images are fed as BGR.
"""

from segbench.core.errors import InvalidFault

from ..family import Foreign, State
from .semiseg import is_deeplabv2, read_started

TITLE = "SemiSeg-Contrastive from COCO weights"
ALIKE = "semiseg"


def detect(state: State) -> bool:
    """Never: a file of this kind is taken for one of ``semiseg`` unless the user knows better."""
    return False


def read(state: State) -> Foreign:
    """DeepLabV2, taken to have started from COCO weights.

    Raises:
        KeyError: a tensor that decides what the network is is missing.
        InvalidFault: it is the project's DeepLabV3+, which never started from COCO weights.
    """
    if not is_deeplabv2(state):
        raise InvalidFault("Of its project's networks DeepLabV2 alone started from COCO weights.", next="segbench list")
    return read_started(state, start="coco", family="semiseg-coco")
