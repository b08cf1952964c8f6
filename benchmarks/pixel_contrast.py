"""What pixel contrast costs: the loss over its own dense part, and the memory. For whole steps see contrast_step.py.

    python benchmarks/pixel_contrast.py [--repeats 5]

Maps of 2 images, 256 x 128 x 256 with channels last, as in training, 19 classes, forward and backward, on one thread.
Beside the losses a plain loop as public code has it: images and classes one after the other on all vectors of the maps,
and a list of the memory's keys that is put together in every step. All take turns; times are those of the processor.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn import functional as F

from segbench.losses.bank_contrast import contrast_with_all, draw_candidates, semi_hard_contrast
from segbench.losses.key_bank import KeyBank, keys_of_images
from segbench.losses.pixel_contrast import contrast_within, draw_anchors, draw_views, unit_vectors_at

IMAGES, CLASSES, DIM, SIZE = 2, 19, 256, (128, 256)
ANCHORS, VIEWS, TAU = 1024, 100, 0.1
QUEUE = 5000  # regions, and as many pixels, of each class


def scene(images: int, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Smooth label maps (N, h, w), 5 % ignored, and predictions that are wrong along their borders."""
    rng = np.random.default_rng(0)
    fields = gaussian_filter(rng.normal(size=(images, CLASSES, *size)), (0, 0, 8, 8))
    fields /= fields.std()
    ignored = gaussian_filter(rng.normal(size=(images, *size)), (0, 8, 8))
    labels = np.where(ignored < np.quantile(ignored, 0.05), 255, fields.argmax(1))
    noise = gaussian_filter(rng.normal(size=fields.shape), (0, 0, 4, 4))
    return torch.from_numpy(labels), torch.from_numpy((fields + 0.2 * noise / noise.std()).argmax(1))


def batched(maps: Tensor, labels: Tensor, predictions: Tensor) -> Tensor:
    """The package's loss in the release's form."""
    generator = torch.Generator().manual_seed(0)
    drawn = draw_views(labels, predictions, num_classes=CLASSES, generator=generator)
    features = unit_vectors_at(maps, drawn.places)
    return contrast_within(features, drawn.labels, drawn.valid, temperature=TAU).mean()


def dense_part(maps: Tensor, places: Tensor) -> Tensor:
    """What no implementation can leave out: gather, one product, a soft-max; backward scatters."""
    pixels = places % (SIZE[0] * SIZE[1])
    features = maps.movedim(1, -1)[places // (SIZE[0] * SIZE[1]), pixels // SIZE[1], pixels % SIZE[1]]
    return (features @ features.T / TAU).log_softmax(1).mean()


def drawn_in_loop(maps: Tensor, labels: Tensor, predictions: Tensor, views: int) -> tuple[Tensor, Tensor]:
    """Anchors and their classes, one (image, class) after the other."""
    vectors = F.normalize(maps, dim=1).permute(0, 2, 3, 1).contiguous().view(len(maps), -1, DIM)
    flat, guesses = labels.view(len(labels), -1), predictions.view(len(labels), -1)
    groups = [(image, int(c)) for image in range(len(maps)) for c in flat[image].unique() if c != 255]
    groups = [(image, c) for image, c in groups if int((flat[image] == c).sum()) > views]
    each = min(ANCHORS // len(groups), views)
    found, classes = [], []
    for image, c in groups:
        hard = ((flat[image] == c) & (guesses[image] != c)).nonzero()[:, 0]
        easy = ((flat[image] == c) & (guesses[image] == c)).nonzero()[:, 0]
        keep = min(max(each // 2, each - len(easy)), len(hard))
        chosen = torch.cat([hard[torch.randperm(len(hard))[:keep]], easy[torch.randperm(len(easy))[: each - keep]]])
        found.append(vectors[image, chosen])
        classes += [c] * each
    return torch.cat(found), torch.tensor(classes)


def plain_loss(features: Tensor, classes: Tensor, keys: Tensor, of: Tensor, *, within: bool) -> Tensor:
    """The formula on whole matrices of zeros and ones."""
    scores = features @ keys.T / TAU
    scores = scores - scores.max(1, keepdim=True).values.detach()
    same = (classes[:, None] == of).float()
    crowd = (scores.exp() * (1 - same)).sum(1, keepdim=True)
    positives = same - torch.eye(len(classes)) if within else same
    terms = scores - (scores.exp() + crowd).log()
    return -((positives * terms).sum(1) / positives.sum(1)).mean()


Steps = dict[str, Callable[[], None]]


def cpu_seconds(step: Callable[[], None]) -> float:
    """What one thread computes: equal to wall-clock time on an idle machine, and little disturbed on a busy one."""
    start = time.process_time()
    step()
    return time.process_time() - start


def in_turns(steps: Steps, repeats: int) -> tuple[dict[str, float], dict[str, float]]:
    """Median CPU seconds of each step, and the median of its ratios to the first one, all taken in turns."""
    turns = [{name: cpu_seconds(step) for name, step in steps.items()} for _ in range(repeats)]
    base = next(iter(steps))
    times = {name: statistics.median(turn[name] for turn in turns) for name in steps}
    return times, {name: statistics.median(turn[name] / turn[base] for turn in turns) for name in steps}


def show(title: str, steps: Steps, repeats: int) -> None:
    """A line a step."""
    in_turns(steps, 1)
    times, ratios = in_turns(steps, repeats)
    print(title)
    for name in steps:
        print(f"  {name:58s} {1000 * times[name]:8.1f} ms  x {ratios[name]:.2f}", flush=True)


def measure_losses(repeats: int) -> None:
    """Times of the two losses and of their rivals."""
    torch.manual_seed(0)
    labels, predictions = scene(IMAGES, SIZE)
    maps = torch.randn(IMAGES, DIM, *SIZE).to(memory_format=torch.channels_last).requires_grad_()
    places = torch.randint(0, labels.numel(), (ANCHORS,))

    def step(loss: Callable[[], Tensor], after: Callable[[], None] = lambda: None) -> Callable[[], None]:
        def run() -> None:
            maps.grad = None
            loss().backward()
            after()

        return run

    def plain() -> Tensor:
        features, classes = drawn_in_loop(maps, labels, predictions, VIEWS)
        return plain_loss(features, classes, features, classes, within=True)

    steps = {
        "dense part: gather, product, soft-max, scatter": step(lambda: dense_part(maps, places)),
        "segbench": step(lambda: batched(maps, labels, predictions)),
        "plain loop over classes": step(plain),
    }
    show(f"loss within a group, {ANCHORS} anchors (target: at most 2 x its dense part)", steps, repeats)

    memory = KeyBank(CLASSES, DIM, regions=QUEUE, pixels=QUEUE)
    memory.keys.copy_(F.normalize(torch.randn_like(memory.keys), dim=1))
    memory.filled.fill_(QUEUE)
    queues = memory.view().clone().unflatten(1, (2, QUEUE))
    queries = F.normalize(torch.randn(IMAGES * CLASSES, DIM), dim=1).requires_grad_()

    def update() -> None:
        generator = torch.Generator().manual_seed(0)
        memory.push(keys_of_images(maps.detach(), labels, num_classes=CLASSES, generator=generator))

    def with_memory() -> Tensor:
        generator = torch.Generator().manual_seed(0)
        drawn = draw_views(labels, predictions, num_classes=CLASSES, max_views=1, min_pixels=2, generator=generator)
        features = unit_vectors_at(maps, drawn.places)
        losses = contrast_with_all(features, drawn.labels, drawn.valid, memory.view(), memory.valid(), temperature=TAU)
        return losses.mean()

    def semi_hard() -> Tensor:
        generator = torch.Generator().manual_seed(0)
        drawn = draw_anchors(labels, predictions, num_classes=CLASSES, generator=generator)
        features = unit_vectors_at(maps, drawn.places).view(CLASSES, -1, DIM)
        candidates = draw_candidates(memory.view(), memory.valid(), generator=generator)
        losses = semi_hard_contrast(features, drawn.valid.view(CLASSES, -1), candidates, temperature=TAU)
        return losses.mean()

    def plain_memory() -> Tensor:
        features, classes = drawn_in_loop(maps, labels, predictions, 1)
        keys = torch.zeros(CLASSES * 2 * QUEUE, DIM)
        of = torch.zeros(CLASSES * 2 * QUEUE, dtype=torch.int64)
        for c in range(CLASSES):
            place = slice(c * 2 * QUEUE, (c + 1) * 2 * QUEUE)
            keys[place], of[place] = torch.cat([queues[c, 0], queues[c, 1]]), c
        return plain_loss(features, classes, keys, of, within=False)

    def plain_update() -> None:
        vectors = maps.detach().flatten(2)
        for image in range(IMAGES):
            for c in labels[image].unique():
                members = (labels[image].flatten() == c).nonzero()[:, 0]
                if c != 255:
                    queues[c, 0, 0] = F.normalize(vectors[image][:, members].mean(1), dim=0)
                    chosen = members[torch.randperm(len(members))[:10]]
                    queues[c, 1, : len(chosen)] = F.normalize(vectors[image][:, chosen].T, dim=1)

    def reading() -> Tensor:
        return (queries @ memory.view().flatten(0, 1).T).mean() + 0 * maps.sum()

    steps = {
        "a product with the bank, its gradient, one of the maps": step(reading),
        "segbench, released: 1 anchor an (image, class), all keys": step(with_memory, update),
        "plain loop over classes, the same": step(plain_memory, plain_update),
        "segbench, paper: 50 anchors a class, semi-hard keys": step(semi_hard, update),
    }
    show(f"\nloss against a memory of {CLASSES} x {2 * QUEUE} x {DIM}, with its update", steps, repeats)


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    measure_losses(arguments.repeats)


if __name__ == "__main__":
    main()
