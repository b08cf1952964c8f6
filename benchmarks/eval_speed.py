"""What scoring costs: segbench's images a second over those of a bare forward with arg-max, and of the usual loop.

    python benchmarks/eval_speed.py [--images 6] [--size 512 1024] [--classes 19] [--device cpu]

All three score the same torchvision DeepLabV3 (MobileNetV3-Large) on the same images in memory, taking turns image by
image on one thread:

- bare: the image as the network wants it, in the engine's memory layout, one forward, one arg-max, and nothing else;
- usual: the loop of torchvision's reference script: normalise, forward, resize to the label, arg-max, bincount;
- segbench: `evaluate` with everything that it does: upload, normalise, resize, arg-max, confusion matrix, per-image
  counts, timing, progress.

The three must count the same pixels.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torchvision.models.segmentation import deeplabv3_mobilenet_v3_large

from segbench.core.spec import DataSpec, EvaluationSpec, InputSpec
from segbench.engine.evaluate import evaluate
from segbench.engine.own_network import OwnNetwork
from segbench.engine.runtime import Runtime, choose_runtime

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Pair = tuple[NDArray[np.uint8], NDArray[np.uint8]]


class Turns:
    """Images and labels; whenever the engine asks for one, the other two loops take their turn on it first."""

    def __init__(self, pairs: list[Pair], others: dict[str, Callable[[Pair], object]], runtime: Runtime) -> None:
        self._pairs, self._others, self._runtime = pairs, others, runtime
        self.seconds: dict[str, list[float]] = {name: [] for name in ("segbench", *others)}
        self._began: float | None = None

    def __len__(self) -> int:
        return len(self._pairs)

    def key(self, index: int) -> str:
        return str(index)

    def read(self, index: int) -> Pair:
        self.close()
        for name, run in self._others.items():
            began = self._now()
            run(self._pairs[index])
            self.seconds[name].append(self._now() - began)
        self._began = self._now()
        return self._pairs[index]

    def close(self) -> None:
        """The engine is done with the image that it was given."""
        if self._began is not None:
            self.seconds["segbench"].append(self._now() - self._began)
            self._began = None

    def _now(self) -> float:
        """Seconds; on a CPU those that this thread has computed, so that other processes disturb less."""
        self._runtime.synchronize()
        return time.perf_counter() if self._runtime.is_cuda else time.thread_time()


class Usual:
    """The evaluation of torchvision's reference script for segmentation, in short."""

    def __init__(self, network: torch.nn.Module, classes: int, device: str) -> None:
        self.network, self.classes, self.device = network, classes, device
        self.matrix = torch.zeros(classes, classes, dtype=torch.int64, device=device)

    def __call__(self, pair: Pair) -> None:
        image = torch.from_numpy(pair[0]).permute(2, 0, 1).to(self.device).float() / 255
        mean, std = (torch.tensor(values, device=self.device)[:, None, None] for values in (MEAN, STD))
        target = torch.from_numpy(pair[1]).to(self.device).long()
        with torch.inference_mode():
            logits = self.network(((image - mean) / std)[None])["out"]
        predicted = F.interpolate(logits, size=target.shape, mode="bilinear", align_corners=False).argmax(1).flatten()
        target = target.flatten()
        known = (target >= 0) & (target < self.classes)
        index = self.classes * target[known] + predicted[known]
        self.matrix += torch.bincount(index, minlength=self.classes**2).reshape(self.classes, self.classes)


class Bare:
    """A forward and an arg-max on an input that is ready."""

    def __init__(self, network: torch.nn.Module, runtime: Runtime, size: tuple[int, int]) -> None:
        self.network, self.runtime = network, runtime
        images = torch.randn(1, 3, *size, device=runtime.device)
        self.images = images.contiguous(memory_format=torch.channels_last)

    def __call__(self, pair: Pair) -> None:
        with torch.inference_mode(), self.runtime.autocast():
            self.network(self.images)["out"].argmax(1)


def pictures(number: int, size: tuple[int, int], classes: int) -> list[Pair]:
    """Smooth noise with labels in regions; 6 % ignored."""
    rng = np.random.default_rng(0)
    pairs = []
    for _ in range(number):
        coarse = rng.integers(0, 256, (size[0] // 16, size[1] // 16, 3), dtype=np.uint8)
        image = coarse.repeat(16, 0).repeat(16, 1)
        label = (image[..., 0].astype(np.int64) * classes // 256).astype(np.uint8)
        label[: size[0] // 16] = 255
        pairs.append((image, label))
    return pairs


def main() -> None:
    """Time the three loops in turns and print ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--size", type=int, nargs=2, default=(512, 1024))
    parser.add_argument("--classes", type=int, default=19)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    runtime = choose_runtime(arguments.device, precision="float32", workers=0)
    size = (arguments.size[0], arguments.size[1])
    torch.manual_seed(0)
    network = deeplabv3_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=arguments.classes, aux_loss=False
    ).eval()
    segmentor = OwnNetwork(network, num_classes=arguments.classes, align_corners=False, name="deeplabv3_mobilenet")
    runtime.place(segmentor)
    usual = Usual(network, arguments.classes, runtime.device)
    others: dict[str, Callable[[Pair], object]] = {"bare": Bare(network, runtime, size), "usual": usual}
    turns = Turns(pictures(arguments.images + 2, size, arguments.classes), others, runtime)
    spec = EvaluationSpec(data=DataSpec(name="cityscapes"))
    result = evaluate(segmentor, turns, spec, input=InputSpec(), runtime=runtime)
    turns.close()
    differing = np.abs(result.matrix - usual.matrix.cpu().numpy()).sum() / 2
    # float32 sums in another order: where two classes are all but equal, either may win
    assert differing <= 1e-3 * result.matrix.sum(), f"{differing} pixels are counted otherwise"
    middle = {name: statistics.median(times[2:]) for name, times in turns.seconds.items()}
    for name, seconds in middle.items():
        print(f"{name:9s} {1e3 * seconds:8.1f} ms an image  {1 / seconds:6.2f} images/s")
    ratios = [own / bare for own, bare in zip(turns.seconds["segbench"][2:], turns.seconds["bare"][2:], strict=True)]
    print(
        f"segbench / bare forward and arg-max: {statistics.median(ratios):.3f} (target: at most 1.05); "
        f"segbench / usual loop: {middle['segbench'] / middle['usual']:.3f}"
    )


if __name__ == "__main__":
    main()
