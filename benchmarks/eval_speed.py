"""What scoring costs: segbench's images a second over those of a bare forward with arg-max, and of the usual loop.

    python benchmarks/eval_speed.py [--images 6] [--size 512 1024] [--classes 19] [--device cpu]

Two networks, with random weights in their library's own file: torchvision's DeepLabV3 (MobileNetV3-Large) and
transformers' SegFormer (MiT-B0). All three score the same images in memory, taking turns image by image on one thread:

- bare: the library's network in the engine's memory layout on an image that is ready, its logits at the image's size,
  one arg-max, and nothing else;
- usual: the library's usual loop: normalise, forward, resize to the label, arg-max, bincount;
- segbench: the file, opened as `segbench eval` does, and `evaluate` with everything that it does: upload, normalise,
  forward, resize, arg-max, confusion matrix, per-image counts, timing, progress.

Segbench and the usual loop must count the same pixels.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.models.segmentation import deeplabv3_mobilenet_v3_large
from transformers import SegformerConfig, SegformerForSemanticSegmentation

from segbench.checkpoints.loaded_model import open_other
from segbench.core.spec import DataSpec, EvaluationSpec
from segbench.engine.evaluate import evaluate
from segbench.engine.runtime import Runtime, choose_runtime

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Pair = tuple[NDArray[np.uint8], NDArray[np.uint8]]
Forward = Callable[[Tensor], Tensor]  # normalised images to logits


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
    """The evaluation of the libraries' reference scripts, in short."""

    def __init__(self, forward: Forward, classes: int, device: str) -> None:
        self.forward, self.classes, self.device = forward, classes, device
        self.matrix = torch.zeros(classes, classes, dtype=torch.int64, device=device)

    def __call__(self, pair: Pair) -> None:
        image = torch.from_numpy(pair[0]).permute(2, 0, 1).to(self.device).float() / 255
        mean, std = (torch.tensor(values, device=self.device)[:, None, None] for values in (MEAN, STD))
        target = torch.from_numpy(pair[1]).to(self.device).long()
        with torch.inference_mode():
            logits = self.forward(((image - mean) / std)[None])
        predicted = F.interpolate(logits, size=target.shape, mode="bilinear", align_corners=False).argmax(1).flatten()
        target = target.flatten()
        known = (target >= 0) & (target < self.classes)
        index = self.classes * target[known] + predicted[known]
        self.matrix += torch.bincount(index, minlength=self.classes**2).reshape(self.classes, self.classes)


class Bare:
    """A forward and an arg-max at the image's size on an input that is ready."""

    def __init__(self, forward: Forward, runtime: Runtime, size: tuple[int, int]) -> None:
        self.forward, self.runtime, self.size = forward, runtime, size
        images = torch.randn(1, 3, *size, device=runtime.device)
        self.images = images.contiguous(memory_format=torch.channels_last)

    def __call__(self, pair: Pair) -> None:
        with torch.inference_mode(), self.runtime.autocast():
            logits = self.forward(self.images)
            if logits.shape[-2:] != self.size:
                logits = F.interpolate(logits, size=self.size, mode="bilinear", align_corners=False)
            logits.argmax(1)


def torchvision_network(classes: int, folder: Path) -> tuple[nn.Module, Forward, Path]:
    """The network, its logits, and its file."""
    network = deeplabv3_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=classes, aux_loss=False)
    torch.save(network.state_dict(), folder / "torchvision.pth")
    return network.eval(), lambda images: network(images)["out"], folder / "torchvision.pth"


def transformers_network(classes: int, folder: Path) -> tuple[nn.Module, Forward, Path]:
    """Likewise; the default configuration is MiT-B0."""
    network = SegformerForSemanticSegmentation(SegformerConfig(num_labels=classes))
    network.save_pretrained(folder / "transformers")
    return network.eval(), lambda images: network(images).logits, folder / "transformers" / "model.safetensors"


NETWORKS = {
    "torchvision DeepLabV3, MobileNetV3-Large": torchvision_network,
    "transformers SegFormer, MiT-B0": transformers_network,
}


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


def measure(title: str, arguments: argparse.Namespace, runtime: Runtime, folder: Path) -> None:
    """Time the three loops in turns and print ratios."""
    size = (arguments.size[0], arguments.size[1])
    torch.manual_seed(0)
    network, forward, path = NETWORKS[title](arguments.classes, folder)
    runtime.place(network)
    subject = open_other(path)
    runtime.place(subject.segmentor)
    usual = Usual(forward, arguments.classes, runtime.device)
    others: dict[str, Callable[[Pair], object]] = {"bare": Bare(forward, runtime, size), "usual": usual}
    turns = Turns(pictures(arguments.images + 2, size, arguments.classes), others, runtime)
    spec = EvaluationSpec(data=DataSpec(name="cityscapes"))
    result = evaluate(subject.segmentor, turns, spec, input=subject.input, runtime=runtime)
    turns.close()
    differing = np.abs(result.matrix - usual.matrix.cpu().numpy()).sum() / 2
    # float32 sums in another order: where two classes are all but equal, either may win
    assert differing <= 1e-3 * result.matrix.sum(), f"{differing} pixels are counted otherwise"
    print(title)
    middle = {name: statistics.median(times[2:]) for name, times in turns.seconds.items()}
    for name, seconds in middle.items():
        print(f"  {name:9s} {1e3 * seconds:8.1f} ms an image  {1 / seconds:6.2f} images/s")
    ratios = [own / bare for own, bare in zip(turns.seconds["segbench"][2:], turns.seconds["bare"][2:], strict=True)]
    print(
        f"  segbench / bare forward and arg-max: {statistics.median(ratios):.3f} (target: at most 1.05); "
        f"segbench / usual loop: {middle['segbench'] / middle['usual']:.3f}"
    )


def main() -> None:
    """Print the ratios of each network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--size", type=int, nargs=2, default=(512, 1024))
    parser.add_argument("--classes", type=int, default=19)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    runtime = choose_runtime(arguments.device, precision="float32", workers=0)
    with tempfile.TemporaryDirectory() as folder:
        for title in NETWORKS:
            measure(title, arguments, runtime, Path(folder))


if __name__ == "__main__":
    main()
