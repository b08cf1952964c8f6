"""What pixel contrast adds to a training step: rows of contrastiveseg-table1 with and without it, at full width.

    python benchmarks/contrast_step.py [--rows hrnetv2-w48 deeplabv3-mobilenetv1 ...] [--crop 512 1024] [--images N]
                                       [--steps 3]

The networks and methods are those of the recipes, with the contrast of the release and that of the paper (whose memory
is filled first), past every warm-up. One CPU thread, processor time; the ways take turns. FLOPs are those of a whole
step, counted while it runs, so a memory's products are among them. The paper's form has anchors and keys for a batch,
however large it is. Rows published with 16 images are timed with 8, which fits a machine, and rows with 8 are timed
with 2, so that form weighs two and four times as much here.
"""

import argparse
from collections.abc import Callable, Iterator
from itertools import count

import torch
from pixel_contrast import in_turns, scene
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from segbench.core.spec import StageSpec
from segbench.data.batch import Batch
from segbench.engine.allocator import keep_large_blocks
from segbench.methods.base import Method
from segbench.methods.build import build_method
from segbench.methods.step import StepInfo
from segbench.recipe.catalog import Catalog, default_catalog
from segbench.recipe.resolve import Request, resolve

TABLE, CLASSES = "contrastiveseg-table1", 19
ROWS = ("hrnetv2-w48", "deeplabv3-mobilenetv1", "deeplabv3-mobilenetv2", "deeplabv3-mobilenetv3")
PUBLISHED = {"hrnetv2-w48": 1.12, "deeplabv3-mobilenetv1": 1.63, "deeplabv3-mobilenetv2": 1.67,
             "deeplabv3-mobilenetv3": 1.48}  # fmt: skip
TARGETS = {"hrnetv2-w48": 1.10}
IMAGES = {"hrnetv2-w48": 2}  # others: 8


def stage_of(catalog: Catalog, row: str, form: str | None) -> StageSpec:
    """The one stage of a row's training, with the contrast of this form where one is named."""
    name = row if form is None else f"{row}-contrast"
    readings = () if form is None else (("contrast-form", form),)
    training = resolve(catalog, TABLE, name, "cityscapes", Request(readings=readings)).published.training
    assert training is not None
    return training.stages[0]


def prepared(stage: StageSpec) -> Method:
    """The method with random weights, its memory full of random unit vectors."""
    torch.manual_seed(0)
    method = build_method(stage, num_classes=CLASSES).train().to(memory_format=torch.channels_last)
    memory = getattr(method, "memory", None)
    if memory is not None:
        memory.keys.copy_(F.normalize(torch.randn_like(memory.keys), dim=1))
        memory.filled.copy_(torch.tensor(memory.sizes)[:, None].expand_as(memory.filled))
    return method


def step_of(method: Method, stage: StageSpec, batch: Batch) -> Callable[[], None]:
    """One training step after another, each with draws of its own."""
    optimizer = torch.optim.SGD(method.parameters(), lr=1e-3, momentum=0.9, weight_decay=5e-4, fused=True)
    numbers: Iterator[int] = count(stage.schedule.steps)  # past the step from which the contrast counts

    def step() -> None:
        number = next(numbers)
        info = StepInfo(number, 2 * stage.schedule.steps)
        torch.stack(list(method({"labelled": batch}, info).values())).sum().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        method.after_step(info)

    return step


def measure(catalog: Catalog, row: str, *, crop: tuple[int, int], images: int, repeats: int) -> None:
    """Print a row's step without and with the two forms of contrast."""
    target, _ = scene(images, (crop[0] // 4, crop[1] // 4))
    target = target.repeat_interleave(4, 1).repeat_interleave(4, 2)
    batch = Batch(torch.randn(images, 3, *crop), target).to("cpu", channels_last=True)
    steps, flops = {}, {}
    for name, form in (("without", None), ("released", "released"), ("paper", "paper")):
        stage = stage_of(catalog, row, form)
        steps[name] = step_of(prepared(stage), stage, batch)
        with FlopCounterMode(display=False) as counter:
            steps[name]()
        flops[name] = counter.get_total_flops()
    times, ratios = in_turns(steps, repeats)
    target_ratio = TARGETS.get(row, 1.15)
    print(f"\n{row}, {images} x {crop[0]} x {crop[1]}: target at most {target_ratio}, published {PUBLISHED[row]:.2f}")
    for name in steps:
        work = f"FLOPs {flops[name] / flops['without']:.3f} ({flops[name] / 1e12:.3f} T)"
        print(f"  {name:10s} {times[name]:7.2f} s  time {ratios[name]:.3f}  {work}", flush=True)


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", default=ROWS, choices=ROWS)
    parser.add_argument("--crop", type=int, nargs=2, default=(512, 1024), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--images", type=int, help="of a step; default: 2 with HRNet and 8 with a MobileNet")
    parser.add_argument("--steps", type=int, default=3, help="timed steps of each way")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_large_blocks()  # as the engine does
    catalog = default_catalog()
    for row in arguments.rows:
        images = arguments.images or IMAGES.get(row, 8)
        measure(catalog, row, crop=tuple(arguments.crop), images=images, repeats=arguments.steps)


if __name__ == "__main__":
    main()
