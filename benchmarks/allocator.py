"""What keeping freed memory saves: a training step on a CPU with glibc's ways and with those of the engine.

    python benchmarks/allocator.py [--row deeplabv3-mobilenetv3] [--images 4] [--rounds 3]

One thread, processor time, each way in processes of its own that take turns.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time

import torch
from contrast_step import prepared, stage_of, step_of
from pixel_contrast import scene

from segbench.data.batch import Batch
from segbench.engine.allocator import keep_large_blocks
from segbench.recipe.catalog import default_catalog

CROP, STEPS = (512, 1024), 3


def steps(row: str, images: int) -> str:
    """Median seconds of a step and the most resident memory, in GB."""
    torch.set_num_threads(1)
    stage = stage_of(default_catalog(), row, None)
    target, _ = scene(images, (CROP[0] // 4, CROP[1] // 4))
    target = target.repeat_interleave(4, 1).repeat_interleave(4, 2)
    batch = Batch(torch.randn(images, 3, *CROP), target).to("cpu", channels_last=True)
    step, times = step_of(prepared(stage), stage, batch), []
    step()
    for _ in range(STEPS):
        start = time.process_time()
        step()
        times.append(time.process_time() - start)
    return f"{statistics.median(times)} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6}"


def main() -> None:
    """Print both ways' times and memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--row", default="deeplabv3-mobilenetv3")
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--way", choices=("glibc", "engine"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        if arguments.way == "engine":
            keep_large_blocks()
        print(steps(arguments.row, arguments.images))
        return
    found: dict[str, list[tuple[float, float]]] = {"glibc": [], "engine": []}
    for _ in range(arguments.rounds):
        for way, measured in found.items():
            command = [sys.executable, __file__, "--way", way, "--row", arguments.row]
            command += ["--images", str(arguments.images)]
            out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            seconds, size = out.split()
            measured.append((float(seconds), float(size)))
    ratio = statistics.median(b[0] / a[0] for a, b in zip(found["glibc"], found["engine"], strict=True))
    print(f"{arguments.row}, {arguments.images} x {CROP[0]} x {CROP[1]}, without contrast")
    for way, measured in found.items():
        seconds, size = (statistics.median(values) for values in zip(*measured, strict=True))
        print(f"  {way:8s} {seconds:6.2f} s a step   {size:5.2f} GB resident at most")
    print(f"  engine / glibc: {ratio:.3f}")


if __name__ == "__main__":
    main()
