"""``segbench weights convert``, with a project of checkpoints that exists for these tests alone."""

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from segbench.checkpoints import families
from segbench.checkpoints import published as checkpoints
from segbench.checkpoints.family import Family, ForeignCheckpoint
from segbench.checkpoints.weights_file import WeightsHeader, build_from_weights, load_weights, save_weights
from segbench.core.spec import InputSpec, ModelSpec
from segbench.data.classes import class_table
from segbench.models.segmentor import build_segmentor
from tests.networks import TINY, varied_weights
from tests.program import segbench

CAMVID = class_table("camvid").names
BGR = TINY.model_copy(update={"input": InputSpec(channels="bgr"), "align_corners": True})


def their_name(name: str) -> str:
    return f"theirs.{name.replace('.', '/')}"


def read(state: Mapping[str, Tensor], model: ModelSpec = BGR) -> ForeignCheckpoint:
    """Names are theirs, the first axis of every tensor is turned round, and there is a head for training."""
    kept = {name: tensor for name, tensor in state.items() if not name.startswith("theirs.projection")}
    tensors = {
        name.removeprefix("theirs.").replace("/", "."): tensor.flip(0) if tensor.ndim else tensor
        for name, tensor in kept.items()
    }
    classes = next(tensor.shape[0] for name, tensor in tensors.items() if name.endswith("classifier.weight"))
    dropped = tuple(name for name in state if name not in kept)
    return ForeignCheckpoint("theirs", "Their Net", model, classes, tensors, dropped, ("A note of theirs.",))


def write(state: Mapping[str, Tensor], model: ModelSpec) -> dict[str, Tensor]:
    return {their_name(name): tensor.flip(0) if tensor.ndim else tensor for name, tensor in state.items()}


def register(monkeypatch: pytest.MonkeyPatch, family: Family) -> None:
    """Let a family be the only one."""
    monkeypatch.setattr(families, "registered", lambda: {family.name: family})


@pytest.fixture(autouse=True)
def theirs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Family]:
    """The family ``theirs``, the only one; and the current folder is empty."""
    family = Family(
        name="theirs",
        title="Their Project",
        detect=lambda state: all(name.startswith("theirs.") for name in state),
        read=read,
        write=write,
    )
    register(monkeypatch, family)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    yield family


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A weights file of segbench with the conventions of the others."""
    torch.manual_seed(3)
    path = tmp_path / "own.safetensors"
    network = build_segmentor(BGR, num_classes=len(CAMVID))
    save_weights(path, network, WeightsHeader(BGR, CAMVID, "camvid", step=7))
    return path


def foreign(path: Path, tensors: Mapping[str, Tensor]) -> Path:
    """A file as their project writes it."""
    torch.save({"epoch": 3, "state_dict": {f"module.{name}": tensor for name, tensor in tensors.items()}}, path)
    return path


def test_there_and_back_every_tensor_is_the_same(own: Path, tmp_path: Path) -> None:
    done = segbench("weights", "convert", own, "--to", "theirs")
    assert done.code == 0, done.err
    written = Path("own-theirs.pth")
    assert done.out.endswith(f"Next: segbench eval --checkpoint {written}\n")
    before = load_file(own)
    during = torch.load(written, weights_only=True)
    assert set(during) == {their_name(name) for name in before}
    assert all(torch.equal(during[their_name(name)].flip(0), tensor) for name, tensor in before.items() if tensor.ndim)
    done = segbench("weights", "convert", written, "--to", "segbench", "--output", "back.safetensors")
    assert done.code == 0, done.err
    assert "Their Net (theirs)" in done.out and "A note of theirs." in done.out
    assert "its logits differ by 0 of the largest" in done.out
    header, after = load_weights(Path("back.safetensors"))
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items()) and len(after) == len(before)
    assert (header.model, header.classes, header.dataset) == (BGR, CAMVID, "camvid")
    assert sorted(path.name for path in Path().iterdir()) == ["back.safetensors", "own-theirs.pth"]
    image = torch.randn(1, 3, 40, 56)
    one, other = (build_from_weights(path)[0](image).logits for path in (own, Path("back.safetensors")))
    assert torch.equal(one, other)


def test_the_form_of_the_file_follows_its_name(own: Path) -> None:
    assert segbench("weights", "convert", own, "--to", "theirs", "--output", "deep/er/x.safetensors").code == 0
    assert set(load_file("deep/er/x.safetensors")) == {their_name(name) for name in load_file(own)}
    done = segbench("weights", "convert", "deep/er/x.safetensors", "--to", "segbench", "--output", "x.pth")
    assert "*.safetensors" in done.fails(2)


@pytest.mark.parametrize(
    ("family", "found"),
    [
        ("mmsegmentation", {"meta", "state_dict"}),
        ("nvlabs", {"meta", "state_dict"}),
        ("swin", {"meta", "state_dict"}),
        ("openseg", {"state_dict"}),
        ("semseg", {"state_dict"}),
    ],
)
def test_projects_find_tensors_and_classes_where_they_look(
    family: str, found: set[str], own: Path, theirs: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each the lines of its test program that open a checkpoint; the others take the tensors as they are."""
    module = importlib.import_module(f"segbench.checkpoints.families.{family}")
    register(monkeypatch, replace(theirs, name=family, pack=module.FAMILY.pack))
    assert segbench("weights", "convert", own, "--to", family).code == 0
    content = torch.load(f"own-{family}.pth", weights_only=True)
    assert set(content) == found
    if "meta" in found:
        assert content["meta"]["CLASSES"] == list(CAMVID)
        assert content["meta"]["PALETTE"][0] == list(class_table("camvid").classes[0].color)
    assert set(content["state_dict"]) == {their_name(name) for name in load_file(own)}


def test_what_is_no_part_of_the_network_is_left_out_and_named(own: Path, tmp_path: Path) -> None:
    tensors = {**write(load_file(own), BGR), "theirs.projection/weight": torch.zeros(3)}
    path = foreign(tmp_path / "run.pth", tensors)
    done = segbench("weights", "convert", path, "--to", "segbench")
    assert "1 tensor of the original left out, as not in the network, such as theirs.projection/weight" in done.out


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda tensors: tensors | {"theirs.odd": torch.zeros(2)}, "1 unexpected tensor, e.g. odd"),
        (lambda tensors: {name: tensors[name] for name in tensors if "conv1/weight" not in name}, "missing tensors"),
        (lambda tensors: {name: tensor * float("nan") for name, tensor in tensors.items()}, "not finite"),
        (lambda tensors: {"other": torch.zeros(1)}, "none of the known families"),
    ],
)
def test_strict_from_theirs(
    own: Path, tmp_path: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]], says: str
) -> None:
    path = foreign(tmp_path / "run.pth", change(write(load_file(own), BGR)))
    assert says in segbench("weights", "convert", path, "--to", "segbench").fails(4)
    assert not list(Path().iterdir())


def test_a_file_that_computes_something_else_is_not_left(
    own: Path, theirs: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    def careless(state: Mapping[str, Tensor], model: ModelSpec) -> dict[str, Tensor]:
        written = write(state, model)
        name = next(name for name in written if name.endswith("classifier/weight"))
        return written | {name: written[name].half().float()}

    register(monkeypatch, replace(theirs, write=careless))
    assert "computes other logits" in segbench("weights", "convert", own, "--to", "theirs").fails(4)
    assert not list(Path().iterdir())


def test_conventions_that_the_other_form_cannot_say_are_refused(tmp_path: Path) -> None:
    path = varied_weights(tmp_path / "rgb.safetensors", "camvid")  # RGB, corners not aligned
    fault = segbench("weights", "convert", path, "--to", "theirs").fails(4)
    assert "channels bgr, but rgb in the original" in fault and "resizes align corners True" in fault
    assert not list(Path().iterdir())


def test_a_network_that_they_do_not_have(own: Path, theirs: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(state: Mapping[str, Tensor], model: ModelSpec) -> dict[str, Tensor]:
        return {"theirs.x": state["decoder.convolution.weight"]}

    register(monkeypatch, replace(theirs, write=missing))
    fault = segbench("weights", "convert", own, "--to", "theirs").fails(4)
    assert "'decoder.convolution.weight' is missing" in fault


def test_families_without_a_way_back_and_unknown_ones(
    own: Path, theirs: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "to 'them'. Known: segbench, theirs." in segbench("weights", "convert", own, "--to", "them").fails(2)
    register(monkeypatch, replace(theirs, write=None))
    fault = segbench("weights", "convert", own, "--to", "theirs").fails(2)
    assert "Their Project can be read, but not written. Known: segbench." in fault
    assert "of segbench already" in segbench("weights", "convert", own, "--to", "segbench").fails(2)


def test_nothing_is_written_over_without_force(own: Path) -> None:
    target = Path("own-theirs.pth")
    target.write_bytes(b"mine")
    assert "--force" in segbench("weights", "convert", own, "--to", "theirs").fails(2)
    assert target.read_bytes() == b"mine"
    assert segbench("weights", "convert", own, "--to", "theirs", "--force").code == 0
    assert len(torch.load(target, weights_only=True)) == len(load_file(own))


def test_classes_are_concluded_or_asked_for(tmp_path: Path) -> None:
    streets = build_segmentor(BGR, num_classes=19)
    path = foreign(tmp_path / "streets.pth", write(streets.state_dict(), BGR))
    done = segbench("weights", "convert", path, "--to", "segbench")
    assert "19 classes, those of cityscapes or gta5" in done.fails(2)
    assert done.lines[-1].endswith("--dataset cityscapes")
    assert "camvid has 11" in segbench("weights", "convert", path, "--to", "segbench", "--dataset", "camvid").fails(4)
    assert segbench("weights", "convert", path, "--to", "segbench", "--dataset", "citscapes").fails(2)
    assert segbench("weights", "convert", path, "--to", "segbench", "--dataset", "gta5").code == 0
    assert load_weights(Path("streets-segbench.safetensors"))[0].dataset == "gta5"
    odd = foreign(tmp_path / "odd.pth", write(build_segmentor(BGR, num_classes=3).state_dict(), BGR))
    assert "3 classes, of no data set" in segbench("weights", "convert", odd, "--to", "segbench").fails(2)


def test_a_registered_name_brings_its_classes_and_licence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published = checkpoints.checkpoint("hrnet-hr48-cityscapes")
    family = replace(published, family="theirs")
    monkeypatch.setattr(checkpoints, "checkpoint_table", lambda: (family,))
    path = tmp_path / "user" / "cache" / "weights" / published.name / published.file_name
    path.parent.mkdir(parents=True)
    foreign(path, write(build_segmentor(BGR, num_classes=19).state_dict(), BGR))
    done = segbench("weights", "convert", published.name, "--to", "segbench")
    assert done.code == 0, done.err
    assert "Licence of the original: MIT" in done.out
    assert load_weights(Path(f"{published.name}-segbench.safetensors"))[0].dataset == "cityscapes"


def test_damaged_and_absent_files(tmp_path: Path) -> None:
    assert segbench("weights", "convert", "none.pth", "--to", "segbench").fails(3)
    for name in ("x.pth", "x.safetensors"):
        (tmp_path / name).write_bytes(b"nothing of the kind")
        assert "damaged" in segbench("weights", "convert", tmp_path / name, "--to", "segbench").fails(4)
    save_file({"a": torch.zeros(1)}, tmp_path / "plain.safetensors")
    assert "known families" in segbench("weights", "convert", tmp_path / "plain.safetensors", "--to", "segbench").err
