"""Pass over the unaugmented training images for a method, before its network is evaluated."""

import math
import time

import torch
import torch.nn.functional as F
from torch import Tensor

from segbench.core.errors import Interrupted
from segbench.core.progress import Observer
from segbench.core.spec import InputSpec, Size, StreamSpec
from segbench.data.dataset import SegDataset
from segbench.data.loader import Share, evaluation_batches
from segbench.methods.base import Gatherer, Method
from segbench.models.segmentor import Segmentor

from .evaluate import report_images
from .predict import eval_mode
from .runtime import Runtime
from .windows import places

_WINDOWS_AT_ONCE = 2


def gather(
    method: Method,
    images: SegDataset,
    stream: StreamSpec,
    *,
    input: InputSpec,
    runtime: Runtime,
    observer: Observer,
) -> None:
    """Show the gatherer of a method, if it has one, the images of a stream, whole and not augmented.

    The network sees windows of the size of its training crops, spread evenly and at most two thirds of one apart (720
    and 480 pixels in SegSort's released script); their embeddings are upsampled and summed where they overlap. Images
    smaller than a window are padded at the right and the bottom with the mean colour.

    Args:
        method: method whose gatherer updates its network.
        images: data set of the stream.
        stream: tells the size of the training crops.
        input: channel order and normalisation.
        runtime: device and precision.
        observer: receives the progress, and is polled for a stop request between images.

    Raises:
        Interrupted: a stop was requested; the network is unchanged.
        MissingFault: an image or label cannot be read.
        RunFault: nothing was gathered.
    """
    gatherer = method.gatherer()
    if gatherer is None:
        return
    every = max(1, round(len(images) / (gatherer.images or len(images))))
    total, began = len(range(0, len(images), every)), time.perf_counter()
    batches = evaluation_batches(
        images, input=input, device=runtime.device, share=Share(0, every), num_workers=runtime.workers
    )
    # Not in inference mode, as gathered tensors become buffers of the network.
    with eval_mode(method.segmentor, runtime), torch.no_grad():
        for done, batch in enumerate(batches, 1):
            if observer.stop_requested():
                raise Interrupted("Stopped while gathering; what was trained is kept.", next="the same command again")
            gatherer.add(_embedded(gatherer, method.segmentor, batch.images, stream.crop, runtime), batch.target)
            report_images(observer, "gather", done, total, began, runtime)
        gatherer.finish()


def _embedded(gatherer: Gatherer, segmentor: Segmentor, image: Tensor, window: Size, runtime: Runtime) -> Tensor:
    """Return the sum (1, D, H, W) float32 of the embeddings of the windows of an image (1, 3, H, W)."""
    height, width = image.shape[-2:]
    image = F.pad(image, (0, max(0, window[1] - width), 0, max(0, window[0] - height)))  # 0 is the mean colour
    full = (image.shape[-2], image.shape[-1])
    stride = (math.ceil(window[0] * 2 / 3), math.ceil(window[1] * 2 / 3))
    windows = places(full, window, stride, placing="even")
    total: Tensor | None = None
    for first in range(0, len(windows), _WINDOWS_AT_ONCE):
        some = windows[first : first + _WINDOWS_AT_ONCE]
        shown = torch.cat([image[place] for place in some])
        if runtime.channels_last:
            shown = shown.contiguous(memory_format=torch.channels_last)
        with runtime.autocast():
            embedding = gatherer.embed(shown)
        if total is None:
            total = embedding.new_zeros(1, embedding.shape[1], *full, dtype=torch.float32)
        for place, each in zip(some, embedding.split(1), strict=True):
            total[place] += segmentor.resize(each, window)
    assert total is not None
    return total[..., :height, :width]
