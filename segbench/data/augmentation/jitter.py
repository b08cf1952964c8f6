"""Colour operations on a batch, by style of jitter.

Images are (N, 3, H, W) RGB in [0, 1], factors (N, 1, 1, 1), one per image.

- torchvision (and simclr, whose paper is written in its terms): factors of brightness, of contrast about the image's
  mean luma and of saturation about each pixel's luma; a turn of the hue.
- kornia041: as Kornia 0.4.1, brightness is added, contrast is a factor on the colour itself, saturation one on
  the S of HSV; each is clamped to [0, 1].
- mmseg: PhotoMetricDistortion, which rounds to whole grey levels between its steps; a NaN factor leaves the
  image as it is.
"""

from collections.abc import Callable

import torch
from torch import Tensor

_LUMA = (0.2989, 0.587, 0.114)  # ITU-R BT.601 to four digits, the weights that torchvision uses
HUES = 180  # steps of a full turn in an 8-bit HSV image

Operation = Callable[[Tensor, Tensor], Tensor]


def adjust_brightness(images: Tensor, factor: Tensor) -> Tensor:
    """``f * x``."""
    return (images * factor).clamp(0, 1)


def adjust_contrast(images: Tensor, factor: Tensor) -> Tensor:
    """``f * x + (1 - f) * m`` with ``m`` the mean luma of the image."""
    mean = luma(images).mean(dim=(2, 3), keepdim=True)
    return (images * factor + (1 - factor) * mean).clamp(0, 1)


def adjust_saturation(images: Tensor, factor: Tensor) -> Tensor:
    """``f * x + (1 - f) * luma(x)``."""
    return (images * factor + (1 - factor) * luma(images)).clamp(0, 1)


def adjust_hue(images: Tensor, turn: Tensor) -> Tensor:
    """Rotate the hue of the HSV colour by a fraction of a full turn; value and saturation stay."""
    hue, chroma, value = _hue_chroma_value(images)
    return _from_hue(hue + 6 * turn, chroma, value).clamp(0, 1)


def add_brightness(images: Tensor, amount: Tensor) -> Tensor:
    """``x + b``."""
    return (images + amount).clamp(0, 1)


def adjust_hsv_saturation(images: Tensor, factor: Tensor) -> Tensor:
    """``S' = clamp(f * S, 0, 1)`` of the HSV colour; hue and value stay.

    With v = max the channels keep their ratios of distance to v: ``x' = v - min(f, 1 / S) * (v - x)``.
    """
    value = images.amax(dim=1, keepdim=True)
    chroma = value - images.amin(dim=1, keepdim=True)
    most = value / torch.where(chroma > 0, chroma, torch.ones_like(chroma))
    return (value - torch.minimum(factor.expand_as(most), most) * (value - images)).clamp(0, 1)


def add_level(images: Tensor, amount: Tensor) -> Tensor:
    """``x + b`` in whole grey levels, truncated."""
    return _where(amount, _levels(_whole(images) + 255 * amount), images)


def adjust_level_contrast(images: Tensor, factor: Tensor) -> Tensor:
    """``f * x`` in whole grey levels, truncated."""
    return _where(factor, _levels(_whole(images) * factor), images)


def adjust_level_saturation(images: Tensor, factor: Tensor) -> Tensor:
    """``f * S`` of the 8-bit HSV colour, truncated."""
    hue, saturation, value = _hsv_levels(_whole(images))
    scaled = (saturation * factor).clamp(0, 255).floor()
    return _where(factor, _from_hsv_levels(hue, scaled, value), images)


def turn_level_hue(images: Tensor, turn: Tensor) -> Tensor:
    """Rotate the hue of the 8-bit HSV colour, 180 steps per turn, by a fraction of a full turn."""
    hue, saturation, value = _hsv_levels(_whole(images))
    turned = torch.remainder(hue + (HUES * turn).round(), HUES)
    return _where(turn, _from_hsv_levels(turned, saturation, value), images)


def grey(images: Tensor) -> Tensor:
    """Return images with the luma in all channels."""
    return luma(images).expand_as(images)


def luma(images: Tensor) -> Tensor:
    """Return the luma, (N, 1, H, W)."""
    red, green, blue = images.unbind(1)
    return (_LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue).unsqueeze(1)


_TORCHVISION: dict[str, Operation] = {
    "brightness": adjust_brightness,
    "contrast": adjust_contrast,
    "saturation": adjust_saturation,
    "hue": adjust_hue,
}
OPERATIONS: dict[str, dict[str, Operation]] = {
    "torchvision": _TORCHVISION,
    "simclr": _TORCHVISION,
    "kornia041": {
        "brightness": add_brightness,
        "contrast": adjust_brightness,
        "saturation": adjust_hsv_saturation,
        "hue": adjust_hue,
    },
    "mmseg": {
        "brightness": add_level,
        "contrast first": adjust_level_contrast,
        "saturation": adjust_level_saturation,
        "hue": turn_level_hue,
        "contrast last": adjust_level_contrast,
    },
}


def _hue_chroma_value(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return hue in sixths of a turn from -1 to 5, ``max - min`` and ``max``, each (N, 1, H, W)."""
    value = images.amax(dim=1, keepdim=True)
    chroma = value - images.amin(dim=1, keepdim=True)
    red, green, blue = (channel.unsqueeze(1) for channel in images.unbind(1))
    safe = torch.where(chroma > 0, chroma, torch.ones_like(chroma))
    of_red, of_green, of_blue = (green - blue) / safe, (blue - red) / safe + 2, (red - green) / safe + 4
    hue = torch.where(value == red, of_red, torch.where(value == green, of_green, of_blue))
    return hue, chroma, value


def _from_hue(hue: Tensor, chroma: Tensor, value: Tensor) -> Tensor:
    """Return RGB: channel k is ``v - c * clamp(min(t, 4 - t), 0, 1)``, ``t = (n_k + hue) mod 6``, ``n = (5, 3, 1)``.

    HSV to RGB in its alternative form.
    """
    channels = []
    for corner in (5, 3, 1):
        place = torch.remainder(hue + corner, 6)
        channels.append(value - chroma * torch.minimum(place, 4 - place).clamp(0, 1))
    return torch.cat(channels, dim=1)


def _hsv_levels(levels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return H in 0..179, S and V in 0..255 of RGB in 0..255, rounded as in an 8-bit HSV image."""
    hue, chroma, value = _hue_chroma_value(levels)
    hue = torch.remainder((hue * (HUES / 6) + 0.5).floor(), HUES)
    saturation = (255 * chroma / value.clamp(min=1) + 0.5).floor()
    return hue, saturation, value


def _from_hsv_levels(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """Return RGB in [0, 1], rounded to whole grey levels."""
    return _from_hue(hue / (HUES / 6), value * saturation / 255, value).round() / 255


def _whole(images: Tensor) -> Tensor:
    """Round images in [0, 1] to whole grey levels 0..255."""
    return (255 * images).round()


def _levels(values: Tensor) -> Tensor:
    return values.clamp(0, 255).floor() / 255


def _where(factor: Tensor, changed: Tensor, images: Tensor) -> Tensor:
    return torch.where(factor.isnan(), images, changed)
