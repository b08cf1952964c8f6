"""What only a CUDA device can show of batches that are augmented there; run with ``make gpu``."""

from collections.abc import Iterator

import pytest
import torch

from segbench.core.spec import AugmentationSpec, BlurSpec, InputSpec, JitterSpec
from segbench.data.loader import DeviceTransform, RawBatch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
BLUR = BlurSpec(kernel=11, sigma=(0.3, 1.5), probability=0.5)
SPECS = {
    style: AugmentationSpec(
        scale=(0.75, 1.75),
        flip=0.5,
        classmix=0.7,
        jitter=JitterSpec(style=style, contrast=(0.8, 1.2), hue=(-0.1, 0.1), grey=0.2),  # type: ignore[arg-type]
        blur=BLUR,
        decisions="batch" if style in ("kornia041", "mmseg") else "image",
    )
    for style in ("torchvision", "kornia041", "simclr", "mmseg")
}


@pytest.fixture
def no_waiting() -> Iterator[None]:
    """Any wait for the device is an error."""
    torch.cuda.set_sync_debug_mode("error")
    yield
    torch.cuda.set_sync_debug_mode("default")


def raw(step: int) -> RawBatch:
    generator = torch.Generator().manual_seed(step)
    images = torch.randint(0, 256, (4, 3, 64, 72), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, 6, (4, 64, 72), generator=generator, dtype=torch.uint8)
    return RawBatch(images.pin_memory(), labels.pin_memory(), ("a", "b", "c", "d"), step)


def finisher(style: str, device: str) -> DeviceTransform:
    return DeviceTransform(SPECS[style], batch_total=4, input=InputSpec(), device=device, seed=1)


@pytest.mark.parametrize("style", SPECS)
def test_device_and_host_agree(style: str) -> None:
    for step in range(6):
        found, expected = (finisher(style, device)(raw(step)) for device in ("cuda", "cpu"))
        # A colour on the edge between two hues of 180, or two grey levels of 256, may fall either way.
        differing = (found.images.cpu() - expected.images).abs() > 2e-4
        assert differing.float().mean() < (0.01 if style == "mmseg" else 1e-6)
        assert torch.equal(found.target.cpu(), expected.target)


@pytest.mark.parametrize("style", SPECS)
def test_nothing_waits(style: str, no_waiting: None) -> None:
    finish = finisher(style, "cuda")
    for step in range(6):
        finish(raw(step))
