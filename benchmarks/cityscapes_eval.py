"""Evaluation of 500 Cityscapes-size label pairs against the official evaluator; one thread.

Run ``python benchmarks/cityscapes_eval.py`` with cityscapesscripts installed. Eight different pairs of 1024x2048 pixels
with 60 instances each stand for the 500 of val. Both sides count all of them, and must agree, before a pair at a time
is timed: reading its three PNG files and counting, and counting alone.
"""

import argparse
import contextlib
import io
import itertools
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from timing import median_seconds

from segbench.core.spec import DataSpec
from segbench.data.classes import class_table
from segbench.data.images import read_instances, read_label
from segbench.engine.instances import label_ids
from segbench.metrics.cityscapes import LabelIds, Tallies, cityscapes_scores
from segbench.metrics.instances import count_image

SIZE = (1024, 2048)
PAIRS, INSTANCES, VAL = 8, 60, 500
Map = NDArray[Any]


def evaluator() -> ModuleType:
    """The official evaluator, quiet."""
    if not hasattr(np, "in1d"):  # numpy 2.4 has taken the name away
        setattr(np, "in1d", np.isin)  # noqa: B010
    from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as official

    official.args.quiet, official.args.JSONOutput = True, False
    return official


def pair(seed: int, labels: LabelIds) -> tuple[Map, Map, Map]:
    """Label ids, predicted ids with 5 % wrong blocks, and instance ids: smooth regions, ellipses for instances."""
    rng = np.random.default_rng(seed)
    smooth = cv2.resize(rng.random((8, 16)), SIZE[::-1], interpolation=cv2.INTER_CUBIC)
    target = (smooth.clip(0, 0.999) * 24).astype(np.uint8)  # ids without instances
    instances = target.astype(np.int32)
    for number in range(INSTANCES):
        label = int(rng.choice(labels.instance_classes))
        center = (int(rng.integers(SIZE[1])), int(rng.integers(SIZE[0])))
        axes = [int(axis) for axis in rng.integers(10, 80, 2)]
        for image, value in ((target, label), (instances, label * 1000 + number)):
            cv2.ellipse(image, center, axes, 0, 0, 360, value, -1)
    prediction = np.roll(target, (3, 2), (0, 1))
    coarse = np.where(rng.random((128, 256)) < 0.05, rng.choice(labels.train_ids, (128, 256)), 255).astype(np.uint8)
    guess = cv2.resize(coarse, SIZE[::-1], interpolation=cv2.INTER_NEAREST)
    prediction = np.where(guess == 255, prediction, guess)
    return target, prediction, instances


def write(folder: Path, number: int, maps: tuple[Map, Map, Map]) -> list[Path]:
    """The three files of a pair, named as the evaluator wants them."""
    names = [folder / f"{number}_{kind}.png" for kind in ("labelIds", "pred", "instanceIds")]
    for name, values in zip(names, maps, strict=True):
        Image.fromarray(values.astype(np.uint16) if values.dtype == np.int32 else values).save(name)
    return names


def read(names: list[Path]) -> tuple[Map, Map, Map]:
    return read_label(names[0]), read_label(names[1]), read_instances(names[2])


class _Loaded:
    """Stands for ``PIL.Image`` inside of the evaluator: files that were decoded before."""

    def __init__(self, image: ModuleType, names: list[Path]) -> None:
        self._images = {str(name): image.open(name) for name in names}
        for picture in self._images.values():
            picture.load()

    def open(self, name: str) -> Any:
        return self._images[name]


def compare(names: list[list[Path]], labels: LabelIds, official: ModuleType, *, repeats: int) -> None:
    own = cityscapes_scores(Tallies.join([count_image(*read(each), labels) for each in names]), labels)
    with contextlib.redirect_stdout(io.StringIO()):
        found = official.evaluateImgLists([str(n[1]) for n in names], [str(n[0]) for n in names], official.args)
    theirs = [found[f"averageScore{part}"] for part in ("Classes", "InstClasses", "Categories", "InstCategories")]
    np.testing.assert_allclose([*own.means(absent="exclude").values()], theirs, rtol=1e-12)

    matrix, stats = official.generateMatrix(official.args), official.generateInstanceStats(official.args)

    def evaluate(each: list[Path]) -> None:
        official.evaluatePair(str(each[1]), str(each[0]), matrix, stats, {}, official.args)

    def timed(function: Callable[[Any], object], items: list[Any]) -> float:
        turn = itertools.cycle(items)
        return median_seconds(lambda: function(next(turn)), repeats=repeats * len(items), warmup=len(items))

    loaded = [read(each) for each in names]
    whole = timed(lambda each: count_image(*read(each), labels), names), timed(evaluate, names)
    pillow = official.Image
    official.Image = _Loaded(pillow, [name for each in names for name in each])
    counting = timed(lambda maps: count_image(*maps, labels), loaded), timed(evaluate, names)
    official.Image = pillow
    for what, (ours, official_seconds) in (("reading and counting", whole), ("counting alone", counting)):
        print(
            f"{what:21s} segbench {ours * 1e3:6.1f} ms, official {official_seconds * 1e3:6.1f} ms a pair: "
            f"{official_seconds / ours:.1f} times faster ({VAL} pairs: {VAL * ours:.0f} s and "
            f"{VAL * official_seconds:.0f} s)"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=2, help="times that each of the pairs is timed")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    labels = label_ids(DataSpec(name="cityscapes"), class_table("cityscapes"))
    assert labels is not None
    official = evaluator()
    with tempfile.TemporaryDirectory() as folder:
        names = [write(Path(folder), number, pair(number, labels)) for number in range(PAIRS)]
        compare(names, labels, official, repeats=arguments.repeats)


if __name__ == "__main__":
    main()
