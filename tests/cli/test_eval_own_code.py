"""``segbench eval --model module:function``: the user's own network, and the faults that it may have."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from segbench.checkpoints.conventions import PRESETS
from segbench.data.classes import class_table
from tests.program import Done, segbench

CODE = """
import torch
from torch import nn

class Nearest(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.conv = nn.Conv2d(3, num_classes, 1)

    def forward(self, images):
        return self.conv(images)

class Wrapped(Nearest):
    def forward(self, images):
        return {"out": self.conv(images), "aux": None}

class Pair(Nearest):
    def forward(self, images):
        return [self.conv(images), images]

class Object(Nearest):
    def forward(self, images):
        return type("Output", (), {"logits": self.conv(images)})()

class Fails(Nearest):
    def forward(self, images):
        raise ValueError("the moon is full\\nand more")

class Silent(Nearest):
    def forward(self, images):
        return None

class Wrong(Nearest):
    def forward(self, images):
        return self.conv(images)[:, :3]

class Large(Nearest):
    def forward(self, images):
        return torch.empty(10 ** 14)

def build(num_classes): return Nearest(num_classes)
def wrapped(num_classes): return Wrapped(num_classes)
def pair(num_classes): return Pair(num_classes)
def object_(num_classes): return Object(num_classes)
def fails(num_classes): return Fails(num_classes)
def silent(num_classes): return Silent(num_classes)
def wrong(num_classes): return Wrong(num_classes)
def large(num_classes): return Large(num_classes)
def with_path(num_classes, path):
    assert path.name == "mine.pth"
    return Nearest(num_classes)
def no_network(num_classes): return 3
def broken(num_classes): raise KeyError("width")
number = 3
"""


@pytest.fixture(autouse=True)
def _code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The user's code in their current directory."""
    before = list(sys.path)
    (tmp_path / "mynets.py").write_text(CODE)
    (tmp_path / "unlucky.py").write_text("import nosuchpackage")
    (tmp_path / "typo.py").write_text("def build(:\n")
    monkeypatch.chdir(tmp_path)
    yield
    sys.path[:] = before
    for name in ("mynets", "unlucky", "typo"):
        sys.modules.pop(name, None)


def nearest(dataset: str, *, channels: str = "rgb") -> nn.Conv2d:
    """The class of the nearest colour, for images that are normalised as ImageNet's: argmax of 2cx - |c|^2."""
    palette = torch.tensor(class_table(dataset).palette()[: class_table(dataset).num_classes]).double() / 255
    if channels == "bgr":
        palette = palette.flip(1)
    mean, std = (torch.tensor(values).double() for values in (PRESETS["imagenet"].mean, PRESETS["imagenet"].std))
    colours = (palette - mean) / std
    conv = nn.Conv2d(3, len(colours), 1)
    # distances are those of colours, not of normalised values
    conv.weight.data = (2 * colours * std**2).float()[:, :, None, None]
    conv.bias.data = (-((colours * std) ** 2).sum(1)).float()
    return conv


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    state = nearest("cityscapes").state_dict()
    torch.save({"state_dict": {f"module.conv.{name}": tensor for name, tensor in state.items()}}, tmp_path / "mine.pth")
    return tmp_path / "mine.pth"


def evaluate(mine: Path, model: str, *words: object, data: Path | None = None) -> Done:
    places = ["--data-root", data] if data else []
    return segbench("eval", "--checkpoint", mine, "--model", model, "--dataset", "cityscapes", "--out",
                    mine.parent / "out", *places, *words)  # fmt: skip


@pytest.mark.parametrize("name", ["build", "wrapped", "pair", "object_", "with_path"])
def test_scored(name: str, mine: Path, cityscapes: Path) -> None:
    done = evaluate(mine, f"mynets:{name}", data=cityscapes)
    assert done.code == 0, done.err
    assert done.out.startswith(f"Recognised: mynets:{name}, ")
    assert "19 classes, align_corners=False, RGB ImageNet normalisation. 2 of 2 tensors matched." in done.out
    record = evaluate(mine, f"mynets:{name}", "--json", data=cityscapes).json
    assert record["figures"]["pixel_accuracy"] > 90, "tiny Cityscapes is drawn in the colours of its classes"
    assert record["training_spec"]["code"] == f"mynets:{name}"
    assert record["figures"]["flops_g"] > 0


def test_changed_code_is_another_network(mine: Path, cityscapes: Path, tmp_path: Path) -> None:
    first = evaluate(mine, "mynets:build", "--json", data=cityscapes).json
    again = evaluate(mine, "mynets:build", "--json", data=cityscapes).json
    (tmp_path / "mynets.py").write_text(CODE + "\n# changed\n")
    sys.modules.pop("mynets")
    changed = evaluate(mine, "mynets:build", "--json", data=cityscapes).json
    assert first["id"] == again["id"] != changed["id"]


def test_conventions_of_the_user(mine: Path, cityscapes: Path) -> None:
    plain = evaluate(mine, "mynets:build", "--json", data=cityscapes).json
    turned = evaluate(mine, "mynets:build", "--channels", "bgr", "--json", data=cityscapes).json
    assert turned["figures"]["pixel_accuracy"] < 60 < plain["figures"]["pixel_accuracy"]
    aligned = evaluate(mine, "mynets:build", "--align-corners", "--json", data=cityscapes).json
    assert aligned["id"] != plain["id"]


@pytest.mark.parametrize(
    ("model", "code", "says"),
    [
        ("mynets", 2, "--model takes MODULE:FUNCTION"),
        ("nosuch:build", 2, "There is no module 'nosuch'"),
        ("mynets:nosuch", 2, "mynets has no function 'nosuch'"),
        ("mynets:number", 2, "mynets has no function 'number'"),
        ("unlucky:build", 4, "unlucky cannot be imported: ModuleNotFoundError: No module named 'nosuchpackage'"),
        ("typo:build", 4, "typo cannot be imported: SyntaxError"),
        ("mynets:broken", 4, "mynets:broken fails: KeyError: 'width'"),
        ("mynets:no_network", 4, "returns int, not an nn.Module"),
        ("mynets:fails", 5, "mynets:fails fails on images of 1x3x32x64: ValueError: the moon is full"),
        ("mynets:silent", 4, "returns NoneType without logits; return a tensor"),
        ("mynets:wrong", 4, "mynets:wrong returns (1, 3, 32, 64), not (images, 19 classes, rows, columns)"),
        ("mynets:large", 5, "ran out of memory"),
    ],
)
def test_faults_of_the_code_are_one_line(model: str, code: int, says: str, mine: Path, cityscapes: Path) -> None:
    done = evaluate(mine, model, data=cityscapes)
    assert says in done.fails(code)
    assert len(done.lines) - sum("1 of 1" in line for line in done.lines) == 2


def test_tensors_that_do_not_fit(mine: Path, tmp_path: Path) -> None:
    torch.save({"conv.weight": torch.zeros(19, 3, 1, 1), "other": torch.zeros(1)}, mine)
    text = evaluate(mine, "mynets:build").fails(4)
    assert "1 missing tensor, e.g. conv.bias" in text and "1 unexpected tensor" in text


def test_which_classes_is_not_guessed(mine: Path) -> None:
    done = segbench("eval", "--checkpoint", mine, "--model", "mynets:build")
    assert "--dataset is required" in done.fails(2)
