"""Options of label-based contrastive pre-training."""

from typing import ClassVar, Literal

from segbench.core.spec import Options as BaseOptions
from segbench.core.spec import Size, StreamNames, setting


class Options(BaseOptions):
    """Contrast of every labelled pixel within its image, or across pairs of images; no classifier is trained."""

    SMALL = {"embedding_dim": 64, "resize_size": [45, 60]}
    SMOKE = {"embedding_dim": 32, "resize_size": [24, 32]}

    validates: ClassVar[bool] = False

    loss: Literal["within", "cross"] = "within"
    form: Literal["paper", "released"] = setting("paper", description="see losses/label_contrast")
    temperature: float = setting(0.07, ge=0.025, description="tau, which divides the similarities")
    projection_layers: int = setting(3, ge=1, description="1x1 convolutions of the head, with ReLU between them")
    projection_norm: Literal["none", "batch"] = setting("none", description="before each ReLU of the head")
    embedding_dim: int = setting(256, gt=0, description="channels of the head, within and at its end")
    resize_size: Size = setting((65, 65), description="features and labels are brought to this size before the loss")
    distortion: Literal["simclr"] = setting("simclr", description="of the second view: colours alone")
    distortion_strength: float = setting(1.0, gt=0, le=2.5)
    streams: StreamNames = setting(("labelled",), description="streams that are joined to one batch")

    def across_images_of(self, images: int) -> dict[str, tuple[int, ...]]:
        return {"pairs of images": (images,)} if self.loss == "cross" else {}
