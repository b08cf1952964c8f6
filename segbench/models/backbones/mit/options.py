"""Options of a Mix Transformer. The defaults are MiT-B0 of SegFormer's authors.

Sizes are those of Xie et al. 2021 (arXiv 2105.15203, table 6). Variants:

- ``nv``: the authors' code; epsilon of its layer norms is 1e-6 in blocks and after stages, else 1e-5.
- ``hf``: Hugging Face's port, 1e-5 throughout; ``mmseg``: mmsegmentation's, 1e-6 throughout.
- ``cfn``: the public code of CFN (model/segformer.py): the first layer of the feed-forward network keeps the width and
  its 3x3 convolution expands, keys and values are reduced (by a 1x1 convolution and a norm) even where nothing shrinks,
  patch embeddings have no bias, and whole batches skip feed-forward networks alone.
"""

from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from segbench.core.spec import Options as BaseOptions
from segbench.core.spec import setting

Count = Annotated[int, Field(ge=1)]
Stages = tuple[Count, Count, Count, Count]


class Shape(NamedTuple):
    """Channels, blocks and attention heads of each stage."""

    widths: Stages
    depths: Stages
    heads: Stages


_WIDE: tuple[Stages, Stages] = ((64, 128, 320, 512), (1, 2, 5, 8))
_SHAPES = {
    "b0": Shape((32, 64, 160, 256), (2, 2, 2, 2), (1, 2, 5, 8)),
    "b1": Shape(_WIDE[0], (2, 2, 2, 2), _WIDE[1]),
    "b2": Shape(_WIDE[0], (3, 4, 6, 3), _WIDE[1]),
    "b3": Shape(_WIDE[0], (3, 4, 18, 3), _WIDE[1]),
    "b4": Shape(_WIDE[0], (3, 8, 27, 3), _WIDE[1]),
    "b5": Shape(_WIDE[0], (3, 6, 40, 3), _WIDE[1]),
}
_CFN = Shape((64, 128, 256, 512), (3, 4, 6, 3), (1, 2, 4, 8))


class Options(BaseOptions):
    SMALL = {"widths": [16, 32, 64, 128], "depths": [2, 2, 2, 2], "heads": [1, 2, 4, 8], "drop_path": 0.0}
    SMOKE = {"widths": [8, 16, 32, 64], "depths": [1, 1, 1, 1], "heads": [1, 2, 4, 8], "drop_path": 0.0}

    size: Literal["b0", "b1", "b2", "b3", "b4", "b5"] = setting("b0", description="of the networks other than cfn's")
    variant: Literal["nv", "hf", "mmseg", "cfn"] = setting("nv", description="whose network")
    widths: Stages | None = setting(None, description="channels of each stage; None: as the size says")
    depths: Stages | None = setting(None, description="blocks of each stage; None: as the size says")
    heads: Stages | None = setting(None, description="attention heads of each stage; None: as the size says")
    patch_sizes: Stages = setting((7, 3, 3, 3), description="kernels of the patch embeddings; odd")
    strides: Stages = setting((4, 2, 2, 2), description="strides of the patch embeddings")
    reductions: Stages = setting((8, 4, 2, 1), description="how much keys and values shrink each side of the map")
    mlp_ratio: int = setting(4, ge=1, description="channels within a feed-forward network over those around it")
    drop_path: float = setting(
        0.1, ge=0, lt=1, description="probability of skipping the last block's branches; linear from 0 at the first"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        shape = self.shape()
        for width, heads in zip(shape.widths, shape.heads, strict=True):
            if width % heads:
                raise ValueError(f"{width} channels do not divide among {heads} heads")
        if not all(size % 2 for size in self.patch_sizes):
            raise ValueError(f"patch_sizes must be odd, got {self.patch_sizes}")
        return self

    def shape(self) -> Shape:
        """Return the shape of the variant or size, with the options that override it."""
        usual = self._usual()
        return Shape(self.widths or usual.widths, self.depths or usual.depths, self.heads or usual.heads)

    def label(self) -> str:
        """Return ``MiT-B0`` or ``MiT-CFN``; a network of another shape is labelled small."""
        kind = self.variant if self.variant == "cfn" else self.size
        return f"MiT-{kind.upper()}" + ("" if self.shape() == self._usual() else "-small")

    def _usual(self) -> Shape:
        return _CFN if self.variant == "cfn" else _SHAPES[self.size]
