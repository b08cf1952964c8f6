"""Options of the multi-scale and cross-scale method. Layers are numbered from 1, the finest."""

from typing import Self

from pydantic import model_validator

from segbench.core.micro_batch import group_sizes
from segbench.core.spec import setting
from segbench.methods.supervised.options import Options as SupervisedOptions


class Options(SupervisedOptions):
    """Cross-entropy plus alpha times the within-scale and cross-scale losses; defaults are the released values."""

    SMALL = {"embedding_dim": 64, "samples_per_pair": 300, "samples_per_scale": 1200}
    SMOKE = {"embedding_dim": 32, "samples_per_pair": 150, "samples_per_scale": 600}

    alpha: float = setting(0.1, ge=0, description="factor of both contrastive losses")
    layer_weights: dict[int, float] = setting(
        {1: 1.0, 2: 0.7, 3: 0.4, 4: 0.1}, description="weight of each layer's within-scale loss"
    )
    cross_pairs: tuple[tuple[int, int], ...] = setting(
        ((1, 4), (1, 3)), description="pairs of layers, anchors from the first, that are contrasted across scales"
    )
    cross_weight: float = setting(1.0, ge=0, description="weight of each pair")
    detach_coarse: bool = setting(False, description="whether a pair's second layer is a constant for the gradient")
    temperature: float = setting(0.1, gt=0, description="tau within and across scales")
    embedding_dim: int = setting(256, gt=0, description="channels of the projection heads' output")
    samples_per_pair: int = setting(2500, gt=0, description="most samples of an (image, class) pair at a scale")
    samples_per_scale: int = setting(10000, gt=0, description="most samples of a scale, over a group")
    images_per_group: int | None = setting(
        None, gt=0, description="images sampled and contrasted together, in the release those of one GPU; None: all"
    )
    min_pixels: int = setting(5, gt=0, description="fewest pixels with which a pair is sampled")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.embedded_layers():
            raise ValueError("no layer is contrasted; use the method supervised instead")
        if any(first == second for first, second in self.cross_pairs):
            raise ValueError("cross_pairs must pair different layers")
        return self

    def across_images_of(self, images: int) -> dict[str, tuple[int, ...]]:
        return {**super().across_images_of(images), "contrasted samples": group_sizes(images, self.images_per_group)}

    def embedded_layers(self) -> set[int]:
        """Return the layers with a projection head."""
        return set(self.layer_weights) | {layer for pair in self.cross_pairs for layer in pair}
