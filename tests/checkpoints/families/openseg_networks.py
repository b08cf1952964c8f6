"""The networks of openseg and ContrastiveSeg: their layers by the project's names, and what they compute.

No code of segbench is asked.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from tests.checkpoints.families.official_layouts import Shapes, conv, hrnet, norm, ocr_module, resnet, uncounted, unit
from tests.checkpoints.families.official_networks import Plain

STEM = tuple(f"backbone.resinit.{part}{k}" for k in (1, 2, 3) for part in ("conv", "bn"))
SMALL_HRNET = {"w": 4, "modules": (1, 1, 1), "blocks": 1, "stem": 6, "first": (1, 5)}
SMALL_RESNET = {"w": 4, "blocks": (1, 1, 2, 2)}


def hrnet_head(num_classes: int = 19, *, w: int = 48, inside: str = ".0", **sizes: object) -> Shapes:
    """``HRNet_W48``."""
    head = unit("cls_head", 0, 15 * w, 15 * w, 3, bias=True, inside=inside)
    return hrnet("backbone.", w=w, **sizes) | head | conv("cls_head.3", 15 * w, num_classes)


def hrnet_ocr(
    num_classes: int = 19, *, w: int = 48, width: int = 512, key: int = 256, aux: int | None = None,
    inside: str = ".0", **sizes: object,
) -> Shapes:  # fmt: skip
    """``HRNet_W48_OCR``, and with ``width`` 256, ``key`` 128, ``aux`` 256 ``HRNet_W48_OCR_B``."""
    shapes = hrnet("backbone.", w=w, **sizes) | unit("conv3x3", 0, 15 * w, width, 3, bias=True, inside=inside)
    shapes |= ocr_module("ocr_distri_head", width, key, bias=True, inside=inside)
    shapes |= conv("cls_head", width, num_classes, bias=True)
    shapes |= unit("aux_head", 0, 15 * w, aux or 15 * w, 3, bias=True, inside=inside)
    return shapes | conv("aux_head.2", aux or 15 * w, num_classes, bias=True)


def resnet_ocr(
    num_classes: int = 19, *, w: int = 64, width: int = 512, key: int = 256, inside: str = ".0", **sizes: object
) -> Shapes:
    """``SpatialOCRNet``."""
    shapes = resnet("backbone.", STEM, w=w, **sizes) | unit("conv_3x3", 0, 32 * w, width, 3, bias=True, inside=inside)
    shapes |= ocr_module("spatial_ocr_head", width, key, bias=True, inside=inside)
    shapes |= conv("head", width, num_classes, bias=True)
    shapes |= unit("dsn_head", 0, 16 * w, width, 3, bias=True, inside=inside)
    return shapes | conv("dsn_head.3", width, num_classes, bias=True)


def deeplabv3(num_classes: int = 19, *, w: int = 64, width: int = 512, aux: int = 256, **sizes: object) -> Shapes:
    """``DeepLabV3``."""
    aspp = "decoder.layer_aspp"
    shapes = resnet("backbone.", STEM, w=w, **sizes)
    shapes |= unit("decoder.layer_dsn", 0, 16 * w, aux, 3, bias=True)
    shapes |= conv("decoder.layer_dsn.2", aux, num_classes, bias=True)
    for branch in range(4):
        shapes |= unit(f"{aspp}.b{branch}", 0, 32 * w, width, 3 if branch else 1, bias=False)
    shapes |= unit(f"{aspp}.b4", 1, 32 * w, width, 1, bias=False)
    shapes |= unit(f"{aspp}.project", 0, 5 * width, width, 3, bias=False)
    shapes |= conv("decoder.refine.0", width, width, 3) | norm("decoder.refine.1", width)
    return shapes | conv("decoder.refine.2", width, num_classes, bias=True)


SMALL_OCR = {"width": 12, "key": 6}
SMALL: dict[str, Shapes] = {
    "hrnet": hrnet_head(7, **SMALL_HRNET),
    "hrnet-ocr": hrnet_ocr(7, **SMALL_OCR, **SMALL_HRNET),
    "hrnet-ocr-b": hrnet_ocr(7, aux=9, **SMALL_OCR, **SMALL_HRNET),
    "resnet-ocr": resnet_ocr(7, **SMALL_OCR, **SMALL_RESNET),
    "deeplabv3": deeplabv3(7, width=10, aux=9, **SMALL_RESNET),
}

# Files of openseg's model zoo, saved with PyTorch 0.4: no counters, norm and activation in one module.
ZOO = {
    "hrnet-ocr": uncounted(hrnet_ocr(7, inside="", **SMALL_OCR, **SMALL_HRNET)),
    "resnet-ocr": uncounted(resnet_ocr(7, inside="", **SMALL_OCR, **SMALL_RESNET)),
}


def computed(kind: str, state: dict[str, Tensor], *, inplace: bool = False) -> Callable[[Tensor], Tensor]:
    """The network's logits, from its definition; ``inplace``: as written for PyTorch 0.4."""
    inside = "" if inplace else ".0"
    layers = Plain(state, inplace=inplace, slope=0.01 if inplace else 0.0)

    def unit(x: Tensor, name: str, first: int = 0, *, rate: int = 1) -> Tensor:
        return layers.unit(x, f"{name}.{first}", f"{name}.{first + 1}{inside}", rate=rate)

    def features(image: Tensor) -> list[Tensor]:
        if kind.startswith("hrnet"):
            return [layers.hrnet(image, "backbone.")] * 2
        rates = ((1, 1), (1, 1), (1, 2), (2, 4))
        return layers.resnet(image, "backbone.", STEM, strides=(1, 2, 1, 1), rates=rates, ceil_mode=True)

    def with_ocr(coarse: Tensor, fine: Tensor) -> Tensor:
        if kind.startswith("hrnet"):
            regions = layers.conv(unit(coarse, "aux_head"), "aux_head.2")
            x = layers.ocr(unit(fine, "conv3x3"), regions, "ocr_distri_head", inside=inside)
            return layers.conv(x, "cls_head")
        regions = layers.conv(unit(coarse, "dsn_head"), "dsn_head.3")
        x = layers.ocr(unit(fine, "conv_3x3"), regions, "spatial_ocr_head", inside=inside)
        return layers.conv(x, "head")

    def with_aspp(fine: Tensor) -> Tensor:
        here, size = "decoder.layer_aspp", (fine.shape[-2], fine.shape[-1])
        maps = [unit(fine, f"{here}.b{k}", rate=rate) for k, rate in enumerate((1, 12, 24, 36))]
        maps.append(layers.up(unit(fine.mean((2, 3), True), f"{here}.b4", 1), size))
        x = layers.conv(unit(torch.cat(maps, 1), f"{here}.project"), "decoder.refine.0")
        return layers.conv(layers.norm(x, "decoder.refine.1"), "decoder.refine.2")

    def logits(image: Tensor) -> Tensor:
        coarse, fine = features(image)[-2:]
        if kind == "hrnet":
            return layers.conv(unit(fine, "cls_head"), "cls_head.3")
        return with_aspp(fine) if kind == "deeplabv3" else with_ocr(coarse, fine)

    return logits
