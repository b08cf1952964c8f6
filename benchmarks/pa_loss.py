"""How many times faster the batched PA loss with BANE is than a plain loop over classes written from the formula.

    python benchmarks/pa_loss.py [--repeats 5] [--device cpu]

Both run forward and backward in one process on one thread, on the same four maps of a 512 x 1024 crop (strides 4, 8,
16, 32), 2 images, 19 classes, 256 channels. The loop uses boolean masks and SciPy's distance transform.
"""

import argparse
import math
from collections.abc import Callable

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt, gaussian_filter
from timing import median_seconds
from torch import Tensor
from torch.nn import functional as F

from segbench.losses.resize import resize_labels
from segbench.methods.contextrast.method import contextrast_loss
from segbench.methods.contextrast.options import Options

IMAGES, CLASSES, DIM, CROP = 2, 19, 256, (512, 1024)
SIZES = {layer: (CROP[0] >> layer + 1, CROP[1] >> layer + 1) for layer in (1, 2, 3, 4)}
OPTIONS = Options()


def scene() -> tuple[Tensor, Tensor]:
    """Smooth label maps (N, H, W), 5 % ignored, and predictions at stride 4 that are wrong along their borders."""
    rng = np.random.default_rng(0)
    fields = gaussian_filter(rng.normal(size=(IMAGES, CLASSES, CROP[0] // 4, CROP[1] // 4)), (0, 0, 8, 8))
    fields /= fields.std()
    ignored = gaussian_filter(rng.normal(size=fields[:, 0].shape), (0, 8, 8))
    labels = np.where(ignored < np.quantile(ignored, 0.05), 255, fields.argmax(1))
    noise = gaussian_filter(rng.normal(size=fields.shape), (0, 0, 4, 4))
    prediction = (fields + 0.2 * noise / noise.std()).argmax(1)
    return torch.from_numpy(labels.repeat(4, 1).repeat(4, 2)), torch.from_numpy(prediction)


def batched(embeddings: dict[int, Tensor], target: Tensor, prediction: Tensor) -> Tensor:
    """The package's loss."""
    generator = torch.Generator(device=target.device).manual_seed(0)
    return contextrast_loss(embeddings, target, prediction, options=OPTIONS, num_classes=CLASSES, generator=generator)


def select_in_loop(labels: Tensor, predictions: Tensor) -> Tensor:
    """BANE, one mask after the other."""
    selected = np.zeros(labels.shape, dtype=bool)
    for image in range(len(labels)):
        truth, guess = labels[image].cpu().numpy(), predictions[image].cpu().numpy()
        for n in range(CLASSES):
            errors = (truth == n) & (guess != n)
            if errors.any():
                places = np.flatnonzero(errors)
                distances = distance_transform_edt(errors).ravel()[places]
                keep = math.ceil(OPTIONS.bane_percent * len(places) / 100)
                selected[image].ravel()[places[np.argsort(distances, kind="stable")[:keep]]] = True
    return torch.from_numpy(selected).to(labels.device)


def plain(embeddings: dict[int, Tensor], target: Tensor, prediction: Tensor) -> Tensor:
    """Layer by layer and class by class; ties in raster order, otherwise the same loss."""
    vectors, labels, means = {}, {}, {}
    for layer, values in embeddings.items():
        labels[layer] = resize_labels(target, SIZES[layer])
        vectors[layer] = F.normalize(values, dim=1).permute(0, 2, 3, 1)
        for n in range(CLASSES):
            members = labels[layer] == n
            if members.any():
                means[layer, n] = vectors[layer][members].mean(0)
    low, high = OPTIONS.shared_weights
    total = target.new_zeros((), dtype=torch.float32)
    for layer, weight in OPTIONS.layer_weights.items():
        selected = select_in_loop(labels[layer], resize_labels(prediction, SIZES[layer]))
        terms = []
        for n in range(CLASSES):
            negatives = vectors[layer][selected & (labels[layer] != n)]
            if (layer, n) not in means or not len(negatives):
                continue
            anchor = means[layer, n]
            if (OPTIONS.shared_layer, n) in means:
                anchor = low * anchor + high * means[OPTIONS.shared_layer, n]
            anchor = F.normalize(anchor, dim=0) / OPTIONS.temperature
            positives = vectors[layer][labels[layer] == n]
            terms.append(F.softplus(torch.logsumexp(negatives @ anchor, 0) - positives @ anchor).mean())
        total = total + weight * torch.stack(terms).mean()
    return total


def main() -> None:
    """Print both times and their ratio, then how far the losses lie apart."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()

    torch.manual_seed(0)
    target, prediction = (values.to(arguments.device) for values in scene())
    embeddings = {
        layer: torch.randn(IMAGES, DIM, *size, device=arguments.device, requires_grad=True)
        for layer, size in SIZES.items()
    }

    def step(loss: Callable[[dict[int, Tensor], Tensor, Tensor], Tensor]) -> float:
        for values in embeddings.values():
            values.grad = None
        value = loss(embeddings, target, prediction)
        value.backward()
        return value.item()

    ours = median_seconds(lambda: step(batched), repeats=arguments.repeats)
    theirs = median_seconds(lambda: step(plain), repeats=arguments.repeats)
    wrong = ((resize_labels(target, SIZES[1]) != prediction) & (resize_labels(target, SIZES[1]) != 255)).float().mean()
    print(f"batched {ours:.3f} s, plain loop {theirs:.3f} s: {theirs / ours:.1f} times faster ({wrong:.0%} errors)")
    print(f"losses {step(batched):.4f} and {step(plain):.4f}; they differ by the order of ties alone")


if __name__ == "__main__":
    main()
