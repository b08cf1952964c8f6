"""What a loss beside the cross-entropy can be told; free of torch."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from segbench.core.spec import Options, setting


class _ExtraLoss(Options):
    words: ClassVar[str]  # what is formed over a group of images

    weight: float = setting(1.0, ge=0, description="its factor beside the cross-entropy's")
    images_per_group: int | None = setting(
        2, gt=0, description="images that it is formed over, those of one GPU in the releases; None: the batch"
    )


class Aaf(_ExtraLoss):
    """Adaptive affinity fields."""

    words: ClassVar[str] = "affinity fields"

    name: Literal["aaf"]
    margin: float = setting(3.0, gt=0, description="divergence across an edge from which there is no loss")
    edge_weight: float = setting(1.0, ge=0, description="factor of the losses on edges")
    non_edge_weight: float = setting(1.0, ge=0, description="factor of the losses elsewhere")
    fields: tuple[Annotated[int, Field(ge=3)], ...] = setting(
        (3, 5, 7), min_length=1, description="sides of the windows whose 8 outer pixels are neighbours"
    )
    field_weights: Literal["learned"] | Annotated[float, Field(ge=0)] = setting(
        "learned", description="of each window: a class's shares of 1, by gradient ascent; or the same for all"
    )
    final_share: float = setting(
        0.1, gt=0, description="what is left of its factor at the last step; exponential in between"
    )
    at: Literal["logits", "labels"] = setting("logits", description="at whose resolution")

    @field_validator("fields")
    @classmethod
    def _odd(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not all(side % 2 for side in value):
            raise ValueError("a window around a pixel has an odd side")
        return value


class Rmi(_ExtraLoss):
    """Region mutual information and a binary cross-entropy."""

    words: ClassVar[str] = "region mutual information"

    name: Literal["rmi"]
    bce_weight: float = setting(0.5, ge=0, description="factor of the binary cross-entropy")
    rmi_weight: float = setting(0.5, ge=0, description="factor of the mutual information")
    radius: int = setting(3, ge=1, description="side of the windows")
    pool: Literal["max", "mean"] = setting("max", description="how maps are shrunk first")
    pool_size: int = setting(3, ge=1, description="side and stride of that; 1: not at all")
    regularisation: float = setting(1e-3, gt=0, description="alpha, added to the diagonals")


class Lovasz(_ExtraLoss):
    """Lovász-softmax."""

    words: ClassVar[str] = "Lovász-softmax"

    name: Literal["lovasz"]
    classes: Literal["present", "all"] = setting("present", description="which classes the mean is over")


ExtraLoss = Annotated[Aaf | Rmi | Lovasz, Field(discriminator="name")]
