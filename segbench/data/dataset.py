"""Protocol of an opened data set. Free of torch."""

from typing import Protocol

import numpy as np

from .classes import ClassTable

Sample = tuple[np.ndarray, np.ndarray]  # uint8 (H, W, 3) RGB, uint8 (H, W) train ids


class SegDataset(Protocol):
    """Images with labels in a fixed order. Reading is thread-safe."""

    classes: ClassTable

    def __len__(self) -> int: ...

    def key(self, index: int) -> str:
        """Return the name of an image, unique in the data set: ``split/name``."""
        ...

    def read(self, index: int) -> Sample:
        """Return read-only uint8 (H, W, 3) RGB and uint8 (H, W) train ids, 255 where ignored.

        Raises:
            MissingFault: a file is missing or broken, the sizes differ, or a label value is unknown.
        """
        ...

    def instances(self, index: int) -> np.ndarray | None:
        """Return int32 (H, W) instance ids as the data set numbers them; None if there are none, or after resizing.

        Raises:
            MissingFault: the file is missing or broken.
        """
        ...
