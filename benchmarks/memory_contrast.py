"""SemiSeg-Contrastive: a step over the bare passes that it must do, and the memory over its dense products.

    python benchmarks/memory_contrast.py

The step is that of the published row with the smaller crop of 256 x 256 and fewer images, one thread. The bare passes
are the same forward and backward passes of student and teacher with a plain cross-entropy. The memory and the contrast
are measured at their published size: 9 images of 65 x 65 features with 256 channels, 19 classes of 256 vectors.
"""

import torch
from timing import median_seconds
from torch.nn import functional as F

from segbench.data.batch import Batch
from segbench.engine.micro_batch import backward
from segbench.engine.runtime import Runtime
from segbench.losses.class_memory import ClassMemory
from segbench.losses.memory_contrast import memory_contrast
from segbench.methods.build import build_method
from segbench.methods.memory_contrast.heads import Mlp, Selectors
from segbench.methods.step import StepInfo
from segbench.recipe.catalog import load_catalog, recipes_root
from segbench.recipe.resolve import Request, resolve

ROW = ("semiseg-table1", "imagenet-deeplabv3plus-1_30", "cityscapes")
CROP, LABELLED, UNLABELLED, CLASSES = 256, 2, 2, 19
LATE = StepInfo(100_000, 150_000)


def step() -> None:
    settings = (
        ("schedule.crop", [CROP, CROP]),
        ("schedule.batch_total", LABELLED),
        ("stages.train.streams.unlabelled.batch_total", UNLABELLED),
    )
    spec = resolve(load_catalog(recipes_root()), *ROW, Request(settings=settings)).ran.training
    assert spec is not None
    (stage,) = spec.stages
    method = build_method(stage, num_classes=CLASSES, images={"labelled": 100, "unlabelled": 2875}).train()

    def batch(images: int) -> Batch:
        target = (
            torch.randint(0, CLASSES, (images, 8, 8)).repeat_interleave(CROP // 8, 1).repeat_interleave(CROP // 8, 2)
        )
        return Batch(torch.randn(images, 3, CROP, CROP), target)

    batches = {"labelled": batch(LABELLED), "unlabelled": batch(UNLABELLED)}
    student, teacher = method.segmentor, method.teacher.network
    views = torch.cat([batches["unlabelled"].images] * method.options.views)

    def bare() -> None:
        with torch.no_grad():
            teacher(batches["unlabelled"].images)
            teacher(batches["labelled"].images)
        for images in (views, batches["labelled"].images):
            logits = student.resize(student(images).logits, (CROP, CROP))
            F.cross_entropy(logits, torch.zeros(len(images), CROP, CROP, dtype=torch.int64)).backward()
        method.zero_grad(set_to_none=True)

    def whole() -> None:
        backward(method, batches, info=LATE, runtime=Runtime())
        method.after_step(LATE)
        method.zero_grad(set_to_none=True)

    least, ours = median_seconds(bare), median_seconds(whole)
    print(f"step of DeepLabV3+, ResNet-50, {LABELLED} + {UNLABELLED} images of {CROP} x {CROP}")
    print(f"  bare passes of student and teacher  {least:7.2f} s  x 1.00")
    print(f"  segbench                            {ours:7.2f} s  x {ours / least:.2f} (target: at most 1.10)")


def memory() -> None:
    pixels, dim, size = 9 * 65 * 65, 256, 256
    features = torch.randn(pixels, dim, requires_grad=True)
    labels = torch.randint(0, CLASSES, (9, 13, 13)).repeat_interleave(5, 1).repeat_interleave(5, 2).flatten()
    everywhere = torch.ones(pixels, dtype=torch.bool)
    bank, selectors, head = ClassMemory(CLASSES, size, dim), Selectors(CLASSES, dim), Mlp(dim, dim, dim)
    scores = torch.rand(pixels)
    for _ in range(40):
        bank.add(features.detach(), labels, everywhere, torch.rand(pixels), limit=15, rank="lowest")

    def dense() -> None:
        """Every feature with every vector of all classes, and the gradient."""
        product = F.normalize(features, dim=1) @ F.normalize(bank.vectors.flatten(0, 1), dim=1).T
        product.sum().backward()

    def contrast() -> None:
        memory_contrast(features, labels, everywhere, bank.vectors, bank.mask(), feature_scores=scores).backward()

    plain = torch.nn.Sequential(torch.nn.Linear(dim, dim), torch.nn.LeakyReLU(0.2), torch.nn.Linear(dim, 1))
    print(f"memory of {CLASSES} x {size} x {dim}, {pixels:,} features")
    base = median_seconds(dense)
    print(f"  products of all pairs, with gradient      {1e3 * base:7.1f} ms  x 1.00")
    found = median_seconds(contrast)
    print(f"  contrast                                  {1e3 * found:7.1f} ms  x {found / base:.2f}")
    update = median_seconds(lambda: bank.add(features.detach(), labels, everywhere, scores, limit=15, rank="lowest"))
    copy = median_seconds(lambda: bank.store.clone())
    print(f"  update                                    {1e3 * update:7.1f} ms, a copy of the bank {1e3 * copy:.1f} ms")
    one = median_seconds(lambda: plain(features).sum().backward())
    every = median_seconds(lambda: selectors(features, labels, everywhere).sum().backward())
    print(f"  one selector for all features             {1e3 * one:7.1f} ms  x 1.00")
    print(f"  {CLASSES} selectors, each for its class           {1e3 * every:7.1f} ms  x {every / one:.2f}")
    heads = median_seconds(lambda: head(features, everywhere).sum().backward())
    print(f"  projection head                           {1e3 * heads:7.1f} ms")


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(0)
    step()
    memory()
