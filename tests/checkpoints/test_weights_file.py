"""Weights files: what is written is read back, all else is refused with a sentence and without running it."""

import io
import json
import pickle
import struct
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from segbench.checkpoints import training_state
from segbench.checkpoints.loading import load_strictly
from segbench.checkpoints.weights_file import WeightsHeader, build_from_weights, load_weights, save_weights
from segbench.core.errors import InvalidFault, MissingFault
from segbench.core.spec import Choice, InputSpec, ModelSpec
from segbench.models.segmentor import Segmentor, build_segmentor
from tests.engine.tiny import BACKBONE, same, stage, stopped

MODEL = ModelSpec(
    backbone=Choice(name="hrnetv2", options=BACKBONE),
    decoder=Choice(name="concat", options={"head": "conv1x1"}),
    align_corners=True,
    input=InputSpec(channels="bgr", mean=(0.1, 0.2, 0.3)),
)
HEADER = WeightsHeader(MODEL, ("road", "sky", "Straße"), "camvid", "abc123", 7, 0.5, "generated", 12)


@pytest.fixture
def segmentor() -> Segmentor:
    torch.manual_seed(0)
    return build_segmentor(MODEL, num_classes=3)


@pytest.fixture
def path(tmp_path: Path, segmentor: Segmentor) -> Path:
    """A good weights file."""
    save_weights(tmp_path / "good.safetensors", segmentor, HEADER)
    return tmp_path / "good.safetensors"


def refusal(path: Path, load: Callable[[Path], object] = load_weights) -> InvalidFault:
    with pytest.raises(InvalidFault) as caught:
        load(path)
    assert type(caught.value) is InvalidFault
    assert caught.value.exit_code == 4
    assert caught.value.next
    assert all("\n" not in fault and fault.endswith(".") for fault in caught.value.faults)
    return caught.value


def test_round_trip(path: Path, segmentor: Segmentor) -> None:
    header, tensors = load_weights(path)
    assert header == HEADER
    assert header.model == MODEL
    assert same(tensors, dict(segmentor.state_dict()))
    rebuilt, again = build_from_weights(path)
    assert again == HEADER
    assert not rebuilt.training
    images = torch.rand(1, 3, 32, 64)
    assert torch.equal(rebuilt(images).logits, segmentor.eval()(images).logits)


def test_file_is_plain_safetensors_with_a_readable_header(path: Path) -> None:
    with safe_open(str(path), framework="pt") as file:
        metadata = file.metadata()
    assert metadata.keys() == {"segbench"}
    about = json.loads(metadata["segbench"])
    assert about["format"] == "segbench-weights-1"
    assert (about["training"], about["step"], about["classes"]) == ("abc123", 7, ["road", "sky", "Straße"])
    assert about["model"]["input"] == {"channels": "bgr", "mean": [0.1, 0.2, 0.3]}


def test_equal_weights_make_equal_files(path: Path, tmp_path: Path, segmentor: Segmentor) -> None:
    """Whatever the layout in memory: the digest of a file names its weights."""
    for _ in range(5):
        save_weights(tmp_path / "other", segmentor, HEADER)
        assert (tmp_path / "other").read_bytes() == path.read_bytes()
    save_weights(tmp_path / "other", segmentor.to(memory_format=torch.channels_last), HEADER)
    assert (tmp_path / "other").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("place", ["absent.safetensors", "."])
def test_missing(tmp_path: Path, place: str) -> None:
    with pytest.raises(MissingFault, match="no file"):
        load_weights(tmp_path / place)


@pytest.mark.parametrize("content", [b"", b"hello, I am a text file\n", b"\x00" * 1000, bytes(range(256))])
def test_no_checkpoint(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    assert "is damaged or not a checkpoint" in str(refusal(tmp_path / "file"))


@pytest.mark.parametrize("share", [0.01, 0.5, 0.999])
def test_cut_short(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert "is damaged or not a checkpoint" in str(refusal(path))


def test_header_that_promises_too_much(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(struct.pack("<Q", 1 << 62) + content[8:])
    assert "is damaged or not a checkpoint" in str(refusal(path))


def test_foreign_safetensors(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(2)}, tmp_path / "plain")
    assert "no header of segbench" in str(refusal(tmp_path / "plain"))
    save_file({"weight": torch.zeros(2)}, tmp_path / "other", {"format": "pt"})
    assert "no header of segbench" in str(refusal(tmp_path / "other"))


def _rewritten(path: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    with safe_open(str(path), framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        metadata = file.metadata()
    about = json.loads(metadata["segbench"])
    changed = change(about)
    text = changed if isinstance(changed, str) else json.dumps(about if changed is None else changed)
    save_file(tensors, path, {**metadata, "segbench": text})
    return path


@pytest.mark.parametrize(
    "change",
    [
        lambda about: about.pop("classes") and None,
        lambda about: about.update(model={"backbone": "hrnetv2", "decoder": "concat", "colour": 3}),
        lambda about: about.update(step="many"),
        lambda about: about.update(format="segbench-weights-9"),
        lambda about: about.update(data_scale=None),
        lambda about: about.update(classes=[1, {}]),
        lambda about: about.update(classes=5),
        lambda about: [about],
        lambda about: "{broken",
    ],
    ids=[
        "no classes",
        "unknown field",
        "no number",
        "another format",
        "null",
        "no names",
        "no list",
        "a list",
        "no JSON",
    ],
)
def test_header_that_does_not_read(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    assert "is invalid: " in str(refusal(_rewritten(path, change)))


@pytest.mark.parametrize("options", [{"width": -1}, {"depth": 5}])
def test_network_that_cannot_be_built(path: Path, options: dict[str, int]) -> None:
    def change(about: dict[str, Any]) -> None:
        about["model"]["backbone"] = {"name": "hrnetv2", **options}

    assert next(iter(options)) in str(refusal(_rewritten(path, change), build_from_weights))


def test_torch_file_of_another_program(tmp_path: Path) -> None:
    content = {"state_dict": OrderedDict(weight=torch.zeros(2)), "epoch": 3}
    torch.save(content, tmp_path / "model.pth")
    assert "of another program" in str(refusal(tmp_path / "model.pth"))
    torch.save(content, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert "of another program" in str(refusal(tmp_path / "old.pth"))


def test_resumable_state_given_by_mistake(tmp_path: Path) -> None:
    stopped(stage(steps=2), tmp_path, 1)
    fault = refusal(tmp_path / "state.pt")
    assert "resumable state" in str(fault)
    assert "*.safetensors" in str(fault)


class Malicious:
    """Creates a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.mark,))


def _as_torch(content: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("write", [pickle.dumps, _as_torch], ids=["pickle", "torch"])
@pytest.mark.parametrize("load", [load_weights, build_from_weights, training_state.load_state])
def test_code_in_a_file_never_runs(
    tmp_path: Path, write: Callable[[Any], bytes], load: Callable[[Path], object]
) -> None:
    mark, file = tmp_path / "it ran", tmp_path / "model.pth"
    file.write_bytes(write({"state_dict": Malicious(mark)}))
    fault = refusal(file, load)
    assert not mark.exists()
    if load is not training_state.load_state:
        assert "is a checkpoint of another program" in str(fault), "it is not even opened"
    # The file is what it is said to be: whoever trusts it finds the mark.
    torch.load(file, weights_only=False) if write is _as_torch else pickle.loads(file.read_bytes())
    assert mark.exists()


def test_archive_that_is_no_checkpoint(tmp_path: Path, path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "letters.zip", "w") as archive:
        archive.writestr("letter.txt", "dear reader")
    assert "is damaged or not a checkpoint" in str(refusal(tmp_path / "letters.zip"))
    content = (tmp_path / "letters.zip").read_bytes()
    (tmp_path / "half.zip").write_bytes(content[:40])
    assert "is damaged or not a checkpoint" in str(refusal(tmp_path / "half.zip"))


def test_damaged_torch_files_end_in_one_sentence(tmp_path: Path) -> None:
    """Whatever a flipped or missing byte makes of a pickle, it ends in a refusal."""
    good = _as_torch({"state_dict": {"weight": torch.zeros(4)}, "names": ["a", 2, None], "lr": 0.1})
    generator = torch.Generator().manual_seed(0)
    file = tmp_path / "model.pth"
    for _ in range(150):
        place, bit = (int(torch.randint(0, high, (1,), generator=generator)) for high in (len(good), 8))
        changed = bytearray(good)
        changed[place] ^= 1 << bit
        file.write_bytes(bytes(changed))
        refusal(file)


def _without(tensors: dict[str, Tensor]) -> None:
    del tensors["decoder.conv.weight"]


def _with_more(tensors: dict[str, Tensor]) -> None:
    tensors["decoder.extra"] = torch.zeros(1)


def _other_shape(tensors: dict[str, Tensor]) -> None:
    tensors["decoder.classifier.weight"] = torch.zeros(5, 60, 1, 1)


def _wild(tensors: dict[str, Tensor]) -> None:
    tensors["decoder.conv.bias"] = torch.full((60,), float("nan"))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (_without, "1 missing tensor, e.g. decoder.conv.weight."),
        (_with_more, "1 unexpected tensor, e.g. decoder.extra."),
        (
            _other_shape,
            "1 tensor of another shape, e.g. decoder.classifier.weight: (5, 60, 1, 1) where the network has "
            "(3, 60, 1, 1).",
        ),
        (_wild, "1 tensor of the network with values that are not finite, e.g. decoder.conv.bias."),
    ],
)
def test_tensors_that_do_not_fit(path: Path, change: Callable[[dict[str, Tensor]], None], sentence: str) -> None:
    with safe_open(str(path), framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        metadata = file.metadata()
    change(tensors)
    save_file(tensors, path, metadata)
    assert refusal(path, build_from_weights).faults == (f"{path.name}: {sentence}",)


def test_refused_tensors_leave_the_network_as_it_was(segmentor: Segmentor, tmp_path: Path) -> None:
    before = {name: tensor.clone() for name, tensor in segmentor.state_dict().items()}
    changed = {name: tensor + 1 for name, tensor in before.items()}
    _without(changed)
    with pytest.raises(InvalidFault):
        load_strictly(segmentor, changed, source="file")
    assert same(dict(segmentor.state_dict()), before)


def test_all_misfits_at_once(segmentor: Segmentor, tmp_path: Path) -> None:
    tensors = dict(segmentor.state_dict())
    for change in (_without, _with_more, _other_shape, _wild):
        change(tensors)
    with pytest.raises(InvalidFault) as caught:
        load_strictly(segmentor, tensors, source="file")
    assert len(caught.value.faults) == 4
