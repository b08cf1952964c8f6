"""Faults of an installed package: they stop what uses its entries, in one line, and nothing else."""

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
        site = install(tmp_path / "site", "segbench-extras", modules, groups)
        places = {f"SEGBENCH_{name}": str(tmp_path / name.lower()) for name in ("RESULTS", "DATA", "CACHE")}
        own = {"PYTHONPATH": os.pathsep.join([str(site), str(ROOT)]), "OMP_NUM_THREADS": "1", **places}
        command = [sys.executable, "-m", "segbench", *words]
        done = subprocess.run(
            command, env={**os.environ, **own}, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return run


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


@pytest.mark.parametrize(
    ("setting", "change", "says"),
    [
        (
            "model.decoder={name: head}",
            {"head__network": NETWORK.replace("(channels, n", "(channels + 1, n")},
            "The decoder 'head' of segbench-extras 1.0 failed in ",
        ),
        (
            "model.decoder={name: head}",
            {"head__network": NETWORK.replace("num_classes, 1)", "num_classes + 1, 1)")},
            "extras.head.network.Head returns 12 channels for 11 classes.",
        ),
        (
            "method.extra_loss={name: mine}",
            {"loss": LOSS.replace("logits.mean()", "logits.mean(1)")},
            "An extra loss must return a scalar, not a tensor of ",
        ),
    ],
)
def test_wrong_shapes(package: Run, setting: str, change: dict[str, str], says: str) -> None:
    assert says in package("reproduce", ROW, *SMOKE, "--set", setting, **change).err


def test_wrong_shapes_are_faults_of_the_package(package: Run) -> None:
    broken = NETWORK.replace("(channels, n", "(channels + 1, n")
    words = ("reproduce", ROW, *SMOKE, "--set", "model.decoder={name: head}", "--dry-run")
    done = package(*words, head__network=broken)
    assert ": RuntimeError: " in done.fails(4)
    assert done.lines[-1].startswith("Next: segbench --debug reproduce ")
