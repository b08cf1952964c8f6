"""Seconds and memory of a training step on a CUDA device: HRNetV2-W48, 19 classes, 8 crops of 512 x 1024, bfloat16.

    python benchmarks/gpu_steps.py [--methods supervised contextrast ...] [--images 8] [--steps 30] [--warmup 50]

One line a method, without and with torch.compile: the median of synchronised steps (forward, backward, optimiser) on
batches that lie on the device, the ratio to the supervised step, the peak of allocated memory, and what was estimated
for it from shapes (of which the reserve is left out: it is not allocated).
"""

import argparse
from itertools import count

import numpy as np
import torch
from timing import median_seconds
from torch import Tensor

from segbench.capacity.memory import training_memory
from segbench.core.spec import (
    Choice,
    DataSpec,
    ModelSpec,
    OptimizerSpec,
    ScheduleSpec,
    StageSpec,
    StreamSpec,
    TrainingSpec,
)
from segbench.data.batch import Batch
from segbench.engine.optim import build_optimizer
from segbench.engine.runtime import Runtime
from segbench.methods.build import build_method
from segbench.methods.step import StepInfo

CLASSES, CROP = 19, (512, 1024)
SGD = OptimizerSpec(name="sgd", lr=0.01, momentum=0.9, weight_decay=5e-4)


def stage(method: str, images: int) -> StageSpec:
    """The network and head that the Contextrast and Pissas et al. tables train."""
    return StageSpec(
        streams={"labelled": StreamSpec(data=DataSpec(name="cityscapes"), crop=CROP, batch_total=images)},
        model=ModelSpec(backbone=Choice(name="hrnetv2"), decoder=Choice(name="concat", options={"head": "conv3x3"})),
        method=Choice(name=method),
        schedule=ScheduleSpec(steps=40_000, optimizer=SGD),
    )


def scene(images: int) -> tuple[Tensor, Tensor]:
    """Images of noise and labels in blocks, one in twenty ignored, as sampling depends on what lies where."""
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, CLASSES, (images, CROP[0] // 32, CROP[1] // 32))
    blocks[rng.random(blocks.shape) < 0.05] = 255
    target = torch.from_numpy(blocks.repeat(32, 1).repeat(32, 2))
    return torch.randn(images, 3, *CROP), target


def measure(spec: StageSpec, runtime: Runtime, *, warmup: int, steps: int) -> tuple[float, int]:
    """Median seconds of a step and the peak of allocated bytes."""
    runtime.apply()
    torch.manual_seed(0)
    method = build_method(spec, num_classes=CLASSES).train()
    runtime.place(method)
    runtime.prepare_network(method.segmentor)
    optimizer = build_optimizer(SGD, method, fused=runtime.fuses)
    images, target = scene(spec.streams["labelled"].batch_total)
    batches = {"labelled": Batch(images, target).to(runtime.device, channels_last=runtime.channels_last)}
    numbers = count(spec.schedule.steps // 2)  # past every warm-up of a loss

    def step() -> None:
        info = StepInfo(next(numbers), spec.schedule.steps)
        with runtime.autocast():
            terms = method(batches, info)
        torch.stack([term.float() for term in terms.values()]).sum().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        method.after_step(info)

    seconds = median_seconds(step, warmup=warmup, repeats=steps)
    return seconds, torch.cuda.max_memory_allocated()


def main() -> None:
    """Print the table, or why there is none."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=["supervised", "contextrast", "mscs", "pixel-contrast"])
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--warmup", type=int, default=50)
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("No CUDA device here: an HRNetV2-W48 at 8 x 512 x 1024 is timed on one only.")
        return
    size = f"{arguments.images} x {CROP[0]} x {CROP[1]}"
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {size}, bfloat16")
    head = f"{'method':12s} {'compile':8s} {'s/step':>8s} {'images/s':>9s} {'x supervised':>13s}"
    print(f"{head} {'peak GiB':>9s} {'estimated':>9s}")
    for compile in (False, True):
        runtime = Runtime(device="cuda", precision="bfloat16", channels_last=True, compile=compile)
        base = 0.0
        for name in arguments.methods:
            spec = stage(name, arguments.images)
            seconds, memory = measure(spec, runtime, warmup=arguments.warmup, steps=arguments.steps)
            base = base or seconds
            needed = training_memory(TrainingSpec(stages=(spec,)))
            print(
                f"{name:12s} {'yes' if compile else 'no':8s} {seconds:8.4f} {arguments.images / seconds:9.1f} "
                f"{seconds / base:13.3f} {memory / 2**30:9.2f} {(needed.total - needed.reserve) / 2**30:9.2f}",
                flush=True,
            )
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
