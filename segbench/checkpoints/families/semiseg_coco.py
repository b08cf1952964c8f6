"""DeepLabV2 of SemiSeg-Contrastive that started from COCO weights (model/deeplabv2.py).

Its tensors have the names and shapes of a DeepLabV2 that started from ImageNet weights, so that only the user can tell.
The network differs: the stride of a stage is in its first 1x1 convolution, the pooling of the stem rounds sizes up, and
the input is BGR.
"""

from segbench.core.errors import InvalidFault

from ..family import Family, ForeignCheckpoint, StateDict
from .semiseg import is_deeplabv2, read_started

TITLE = "SemiSeg-Contrastive from COCO weights"


def detect(state: StateDict) -> bool:
    """Return False: such a file is taken for one of ``semiseg`` unless the user names this family."""
    return False


def read(state: StateDict) -> ForeignCheckpoint:
    """Read DeepLabV2 as one that started from COCO weights.

    Raises:
        KeyError: a tensor that identifies the network is missing.
        InvalidFault: it is the project's DeepLabV3+, which never started from COCO weights.
    """
    if not is_deeplabv2(state):
        raise InvalidFault("Of its project's networks only DeepLabV2 started from COCO weights.", next="segbench list")
    return read_started(state, start="coco", family="semiseg-coco")


FAMILY = Family(
    name="semiseg-coco", title=TITLE, detect=detect, read=read, lookalike_of="semiseg", state_keys=("model",)
)
