"""What the training loop costs: its seconds per step over those of a bare forward, backward, step loop.

    python benchmarks/loop.py [--methods supervised contextrast] [--steps 60] [--device cpu]

Both train the same method on the same ready batches, taking turns after every step (on CUDA: every 20) in one process
on one thread. The engine's time holds everything that its loop does between two batches: learning rates, losses,
progress reports, checks. Making batches and saving the state are printed apart. The default network is that of the
smoke budget: the shorter a step, the more a loop shows.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Generator
from pathlib import Path

import torch

from segbench.core.progress import Observer, Progress
from segbench.core.spec import (
    AugmentationSpec,
    Choice,
    DataSpec,
    JitterSpec,
    ModelSpec,
    OptimizerSpec,
    ScheduleSpec,
    StageSpec,
    StreamSpec,
)
from segbench.data.batch import Batch
from segbench.engine import train
from segbench.engine.inputs import NO_INPUTS
from segbench.engine.runtime import Runtime, choose_runtime
from segbench.engine.stage_data import open_stage_data
from segbench.methods.build import build_method
from segbench.methods.step import StepInfo

SGD = OptimizerSpec(name="sgd", lr=0.01, momentum=0.9, weight_decay=5e-4)
AUGMENTATION = AugmentationSpec(
    scale=(0.5, 2.0), flip=0.5, jitter=JitterSpec(brightness=(0.5, 1.5), contrast=(0.5, 1.5), saturation=(0.5, 1.5))
)


def stage(method: str, *, width: int, crop: tuple[int, int], images: int, steps: int) -> StageSpec:
    """An HRNetV2 as deep as the smoke budget's."""
    backbone = {
        "width": width,
        "modules": [1, 1, 1],
        "blocks_per_branch": 1,
        "stage1_blocks": 1,
        "stage1_width": 2 * width,
        "stem_channels": 2 * width,
    }
    data = DataSpec(name="camvid", source="generated", images=4, size=(180, 240))
    return StageSpec(
        streams={"labelled": StreamSpec(data=data, crop=crop, batch_total=images, augmentation=AUGMENTATION)},
        model=ModelSpec(
            backbone=Choice(name="hrnetv2", options=backbone),
            decoder=Choice(name="concat", options={"head": "conv1x1"}),
        ),
        method=Choice(name=method, options={} if method == "supervised" else {"embedding_dim": 4 * width}),
        schedule=ScheduleSpec(steps=steps, optimizer=SGD),
    )


class Bare:
    """The shortest loop that trains."""

    def __init__(self, spec: StageSpec, runtime: Runtime, num_classes: int) -> None:
        self.runtime, self.step, self.steps = runtime, 0, spec.schedule.steps
        torch.manual_seed(0)
        self.method = build_method(spec, num_classes=num_classes).train()
        runtime.place(self.method)
        runtime.prepare_network(self.method.segmentor)
        self.optimizer = torch.optim.SGD(
            self.method.parameters(),
            lr=SGD.lr,
            momentum=SGD.momentum,
            weight_decay=SGD.weight_decay,
            fused=runtime.fuses,
        )

    def run(self, batches: dict[str, Batch]) -> None:
        with self.runtime.autocast():
            losses = self.method(batches, StepInfo(self.step, self.steps))
        self.optimizer.zero_grad(set_to_none=True)
        sum(losses.values()).backward()
        self.optimizer.step()
        self.step += 1


class Turns(train.TrainingRun):
    """The engine's loop on ready batches; the bare loop takes its turn whenever a batch is asked for."""

    turn: int

    def _batches(self) -> Generator[dict[str, Batch], None, None]:
        making = super()._batches()
        ready = [next(making) for _ in range(4)]
        began = time.perf_counter()
        ready += [next(making) for _ in range(4)]
        self.loading = (time.perf_counter() - began) / 4
        making.close()
        bare = Bare(self.stage, self.runtime, self.data.classes.num_classes)
        self.ours: list[float] = []
        self.theirs: list[float] = []
        began = self._now()
        for number in range(10**9):
            yield ready[number % len(ready)]
            if (number + 1) % self.turn:
                continue
            middle = self._now()
            for step in range(number + 1 - self.turn, number + 1):
                bare.run(ready[step % len(ready)])
            end = self._now()
            self.ours.append(middle - began)
            self.theirs.append(end - middle)
            began = self._now()

    def _now(self) -> float:
        self.runtime.synchronize()
        return time.perf_counter()


class Watcher(Observer):
    """Formats what it is told, as somebody who shows it would."""

    def report(self, progress: Progress) -> None:
        self.line = f"{progress}"


def compare(spec: StageSpec, runtime: Runtime) -> None:
    """Print seconds per step of both loops and their ratio."""
    with tempfile.TemporaryDirectory() as folder:
        data = open_stage_data(spec, seed=0)
        run = Turns(spec, data, Path(folder), training="benchmark", seed=0, runtime=runtime, observer=Watcher())
        run.turn = 20 if runtime.is_cuda else 1
        run.prepare(NO_INPUTS)
        run.loop()
        began = time.perf_counter()
        run._save()
        saving = time.perf_counter() - began
    warm = max(1, len(run.ours) // 10)
    ours, theirs = run.ours[warm:], run.theirs[warm:]
    middle = [1e3 * statistics.median(times) / run.turn for times in (ours, theirs)]
    print(
        f"{spec.method.name:12s} engine {middle[0]:7.2f} ms a step, bare loop {middle[1]:7.2f} ms: "
        f"ratio {middle[0] / middle[1]:.3f} (of sums {sum(ours) / sum(theirs):.3f}); "
        f"a batch on one thread {1e3 * run.loading:.1f} ms, saving {1e3 * saving:.0f} ms a minute"
    )


def main() -> None:
    """Compare the loops for each method."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=["supervised", "contextrast"])
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--crop", type=int, nargs=2, default=(96, 128))
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    runtime = choose_runtime(arguments.device, workers=0)
    crop = (arguments.crop[0], arguments.crop[1])
    for method in arguments.methods:
        spec = stage(method, width=arguments.width, crop=crop, images=arguments.images, steps=arguments.steps)
        compare(spec, runtime)


if __name__ == "__main__":
    main()
