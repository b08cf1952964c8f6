"""From flat paint to a photograph: surface texture, light, lens and sensor."""

import cv2
import numpy as np

from .roles import Roles

# Strength of fine and of coarse texture, in grey levels.
_TEXTURE = {
    "sky": (1.0, 2.0), "road": (7.0, 5.0), "pavement": (8.0, 6.0), "building": (6.0, 8.0), "wall": (9.0, 7.0),
    "tree": (17.0, 17.0), "terrain": (13.0, 12.0), "fence": (7.0, 6.0), "person": (6.0, 6.0),
}  # fmt: skip
_DEFAULT = (4.0, 5.0)
_TINT = np.array([1.0, -0.4, 0.7], np.float32)  # noise per channel


def photograph(rgb: np.ndarray, labels: np.ndarray, roles: Roles, rng: np.random.Generator) -> np.ndarray:
    """Apply texture, lighting, white balance, blur and noise.

    Args:
        rgb: uint8 (H, W, 3), flat colours.
        labels: uint8 (H, W).
        roles: roles of the classes, for their textures.
        rng: generator of the image.

    Returns:
        uint8 (H, W, 3).
    """
    height, width = labels.shape
    fine, coarse = np.full(256, _DEFAULT[0], np.float32), np.full(256, _DEFAULT[1], np.float32)
    for role, (small, large) in _TEXTURE.items():
        if role in roles.label:
            fine[roles.label[role]], coarse[roles.label[role]] = small, large
    grain = rng.standard_normal((height, width), np.float32)
    seeds = rng.standard_normal((height // 6 + 2, width // 6 + 2), np.float32)
    blobs = cv2.resize(seeds, (width, height), interpolation=cv2.INTER_LINEAR)
    texture = fine[labels] * grain + coarse[labels] * blobs
    image = rgb + texture[..., None]
    image *= _light(height, width, rng)[..., None]
    image *= (rng.uniform(0.82, 1.18) * (1 + rng.normal(0, 0.04, 3))).astype(np.float32)
    grey = image.mean(axis=2, keepdims=True)
    image = grey + (image - grey) * np.float32(rng.uniform(0.8, 1.25))
    blur = rng.uniform(0.25, 0.75) * max(1.0, width / 320)
    soft = cv2.GaussianBlur(image, (0, 0), blur)
    noise = rng.standard_normal((height, width), np.float32)[..., None]
    noise = 0.75 * noise + 0.35 * np.roll(noise, (3, 5), (0, 1)) * _TINT
    image = soft + np.float32(rng.uniform(1.0, 4.5)) * noise
    gamma = rng.uniform(0.88, 1.14)
    curve = np.rint(255 * (np.arange(256) / 255) ** gamma).astype(np.uint8)
    return curve[np.clip(image, 0, 255).astype(np.uint8)]


def _light(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Return a brightness gradient with darker corners, float32 (H, W) around 1."""
    rows = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    columns = np.linspace(-1, 1, width, dtype=np.float32)[None]
    slope = np.float32(rng.normal(0, 0.1)) * columns + np.float32(rng.normal(0, 0.06)) * rows
    return 1 + slope - np.float32(rng.uniform(0, 0.14)) * (rows**2 + columns**2)
