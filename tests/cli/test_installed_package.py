"""Faults of an installed package: they stop what uses its entries, in one line, and nothing else."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.outside import install
from tests.program import ROOT, Done
from tests.recipe.made import HEAD, ROWS

FPN_OPTIONS = """
from segbench.core.spec import Options as Base

class Options(Base):
    SMALL, SMOKE = {}, {}
"""
NETWORK = """
from segbench.models.segmentor import Decoded, Decoder
from torch import nn

class Head(Decoder):
    def __init__(self, channels, num_classes):
        super().__init__()
        self.embedding_channels = channels
        self.classifier = nn.Conv2d(channels, num_classes, 1)

    def forward(self, layers, size):
        return Decoded(self.classifier(layers[0]), layers[0], {})

def build(options, *, backbone, num_classes, align_corners):
    return Head(backbone.layer_channels[0], num_classes)
"""
LOSS = """
from segbench.losses.options import LossOptions

class Options(LossOptions):
    title = "a loss"

def loss(logits, target, options):
    return logits.mean()
"""
BROKEN = "import no_such_module"
ROW = "contextrast-table6/layers-4"
SMOKE = ("--dataset", "camvid", "--budget", "smoke", "--set", "schedule.steps=1", "--set", "schedule.validate_every=1")
RECIPE = (HEAD + ROWS).replace("made-one", "theirs").replace("camvid", "shapes")

Run = Callable[..., Done]


@pytest.fixture
def package(tmp_path: Path) -> Run:
    """Run segbench, in a process of its own, beside a package with a loss, a decoder, a data set and a recipe."""

    def run(*words: str, **files: str) -> Done:
        modules = {
            "extras/loss.py": LOSS,
            "extras/head/options.py": FPN_OPTIONS,
            "extras/head/network.py": NETWORK,
            "extras/shapes/options.py": BROKEN,
            "extras/recipes/theirs.yaml": RECIPE,
            **{f"extras/{name.replace('__', '/')}.py": text for name, text in files.items()},
        }
        groups = {
            "segbench.losses": {"mine": "extras.loss"},
            "segbench.decoders": {"head": "extras.head"},
            "segbench.datasets": {"shapes": "extras.shapes"},
            "segbench.recipes": {"theirs": "extras.recipes"},
        }
        install(tmp_path / "site", "segbench-extras", modules, groups)
        done = python(tmp_path, "segbench", *words)
        return Done(done.returncode, done.stdout, done.stderr)

    return run


def python(folder: Path, module: str, *words: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a module in a process of its own, beside what is installed in the folder's site."""
    places = {f"SEGBENCH_{name}": str(folder / name.lower()) for name in ("RESULTS", "DATA", "CACHE")}
    own = {"PYTHONPATH": os.pathsep.join([str(folder / "site"), str(ROOT)]), "OMP_NUM_THREADS": "1", **places}
    command = [sys.executable, "-m", module, *words]
    return subprocess.run(
        command, env={**os.environ, **own}, cwd=folder, input=given, capture_output=True, text=True, check=False
    )


def several(folder: Path, *commands: list[str]) -> list[Done]:
    """Run several command lines of segbench in one such process."""
    done = python(folder, "tests.several", given=json.dumps(commands))
    assert done.returncode == 0, done.stderr
    return [Done(**answer) for answer in json.loads(done.stdout)]


@pytest.mark.parametrize("words", [("list",), ("data", "list"), ("show", ROW)])
def test_a_data_set_and_a_loss_that_cannot_be_imported_stop_nothing_else(package: Run, words: tuple[str, ...]) -> None:
    done = package(*words, loss=BROKEN)
    assert done.code == 0, done.err
    assert "Traceback" not in done.err


def test_they_stop_what_names_them(package: Run) -> None:
    assert "The dataset 'shapes' of segbench-extras 1.0 cannot be imported" in package("show", "theirs/base").fails(4)


def test_a_loss_that_cannot_be_imported_stops_what_names_it(package: Run) -> None:
    done = package("show", "contrastiveseg-table2/ce", "--set", "method.extra_loss={name: mine}", loss=BROKEN)
    assert "The loss 'mine' of segbench-extras 1.0 cannot be imported" in done.fails(4)


def test_wrong_shapes_are_faults_of_the_package(tmp_path: Path) -> None:
    heads = {
        "broken": NETWORK.replace("(channels, n", "(channels + 1, n"),
        "wide": NETWORK.replace("num_classes, 1)", "num_classes + 1, 1)"),
    }
    modules = {"extras/loss.py": LOSS.replace("logits.mean()", "logits.mean(1)")}
    for name, network in heads.items():
        modules |= {f"extras/{name}/options.py": FPN_OPTIONS, f"extras/{name}/network.py": network}
    groups = {
        "segbench.losses": {"mine": "extras.loss"},
        "segbench.decoders": {name: f"extras.{name}" for name in heads},
    }
    install(tmp_path / "site", "segbench-extras", modules, groups)
    broken, wide, loss = (
        ["reproduce", ROW, *SMOKE, "--set", setting]
        for setting in ("model.decoder={name: broken}", "model.decoder={name: wide}", "method.extra_loss={name: mine}")
    )
    dry, failed, classes, shape = several(tmp_path, [*broken, "--dry-run"], broken, wide, loss)
    assert ": RuntimeError: " in dry.fails(4)
    assert dry.lines[-1].startswith("Next: segbench --debug reproduce ")
    assert "The decoder 'broken' of segbench-extras 1.0 failed in " in failed.err
    assert "extras.wide.network.Head returns 12 channels for 11 classes." in classes.err
    assert "An extra loss must return a scalar, not a tensor of " in shape.err
