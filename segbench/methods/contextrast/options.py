"""Options of Contextrast. Layers are numbered from 1, the finest; fields that list them start at the deepest."""

from typing import ClassVar, Self

from pydantic import field_validator, model_validator

from segbench.core.spec import setting
from segbench.losses.choices import Distance, Negatives, Percentile, Sampler, Ties
from segbench.methods.supervised.options import Options as SupervisedOptions


class Options(SupervisedOptions):
    """Cross-entropy plus alpha times the pixel-anchor (PA) loss."""

    SMALL = {"embedding_dim": 64}
    SMOKE = {"embedding_dim": 32}

    across_images: ClassVar[tuple[str, ...]] = ("class anchors", "negatives")

    alpha: float = setting(0.1, ge=0, description="factor of the PA loss (supplement, Table 8b)")
    layer_weights: dict[int, float] = setting(
        {4: 1.0, 3: 0.7, 2: 0.4, 1: 0.1}, description="lambda of each layer's PA loss (supplement, Table 8a)"
    )
    loss_layers: tuple[int, ...] | None = setting(
        None, description="layers that have a PA loss; None: all that have a weight"
    )
    anchor_layers: tuple[int, ...] = setting(
        (4, 3, 2, 1), description="layers whose anchors take up the shared layer's (supplement, Table 6)"
    )
    shared_layer: int = setting(
        4, ge=1, description="layer whose anchors are shared: 4 highest, 1 lowest (supplement, Table 5)"
    )
    shared_weights: tuple[float, float] = setting(
        (0.5, 0.5), description="w_low of a layer's own anchor and w_high of the shared one; their sum is 1"
    )
    temperature: float = setting(0.1, gt=0, description="tau of the PA loss")
    embedding_dim: int = setting(256, gt=0, description="channels of the projection heads' output")
    sampler: Sampler = setting("bane", description="how the negatives are chosen")
    bane_percent: float = setting(50.0, gt=0, le=100, description="K, the share of a class's errors that is kept")
    distance: Distance = setting(
        "edt", description="edt: distance to the nearest pixel outside the errors; edge: to their nearest edge pixel"
    )
    percentile: Percentile = setting("image", description="whether the share is taken per image or per batch")
    negatives: Negatives = setting("union", description="of which anchors a chosen pixel is a negative")
    ties: Ties = setting("random", description="order of pixels at equal distance")
    normalise_anchors: bool = setting(True, description="whether anchors are brought to unit length")
    detach_anchors: bool = setting(False, description="whether anchors are constants for the gradient")
    positives_per_class: int | None = setting(None, gt=0, description="random positives of a class; None: all")
    starts_at_step: int = setting(0, ge=0, counts_steps=True, description="first step with a PA loss")

    @field_validator("anchor_layers", "loss_layers")
    @classmethod
    def _deepest_first(cls, value: tuple[int, ...] | None) -> tuple[int, ...] | None:
        # One order for one meaning: equal trainings then have equal ids.
        return value if value is None else tuple(sorted(set(value), reverse=True))

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        faults = []
        if abs(sum(self.shared_weights) - 1) > 1e-6 or min(self.shared_weights) < 0:
            faults.append(f"shared_weights must be two shares of 1, got {self.shared_weights}")
        missing = set(self.loss_layers or ()) - set(self.layer_weights)
        if missing:
            faults.append(f"loss_layers names layer {min(missing)}, which has no entry in layer_weights")
        elif not self.weighted_layers():
            faults.append("no layer has a PA loss; use the method supervised instead")
        if self.ties == "raster" and self.sampler != "bane":
            faults.append(f"the sampler {self.sampler} draws at random; ties: raster only fits bane")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def weighted_layers(self) -> dict[int, float]:
        """Return the weights of the layers with a PA loss."""
        layers = self.layer_weights if self.loss_layers is None else self.loss_layers
        return {layer: self.layer_weights[layer] for layer in layers}

    def embedded_layers(self) -> set[int]:
        """Return the layers with a projection head: those with a loss and, if one of them uses it, the shared one."""
        layers = set(self.weighted_layers())
        return layers | {self.shared_layer} if layers & set(self.anchor_layers) else layers
