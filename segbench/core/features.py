"""Which features of a network are measured beside its predictions."""

from typing import Literal

from .fields import Spec, setting


class FeatureSpec(Spec):
    """Features of labelled pixels, taken of whole images at their own size, on the network's own map."""

    layer: int | None = setting(
        None, ge=1, description="encoder layer, 1 is the finest; None: what the last 1x1 classifier reads"
    )
    length: Literal["raw", "unit"] = setting("raw", description="features as they are, or brought to unit length")
    per_class: int = setting(
        2000, ge=2, material=False, description="pixels of a class whose distances are taken; centres are of all pixels"
    )
    seed: int = setting(0, ge=0, material=False, description="of the draw of these pixels")
