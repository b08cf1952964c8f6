"""Kinds of files, by their content and whatever they are called; wrappers and metadata by what families declare."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from segbench.checkpoints import families
from segbench.checkpoints.family import Family, ForeignCheckpoint
from segbench.checkpoints.loaded_model import open_model
from segbench.checkpoints.read import FileKind, identify
from segbench.checkpoints.recognise import recognise
from segbench.checkpoints.training_state import save_state
from segbench.checkpoints.unwrap import read_contents
from segbench.core.errors import InvalidFault, MissingFault
from tests.networks import TINY, write_weights

TENSORS = {"weight": torch.arange(6.0).reshape(2, 3)}


@pytest.mark.parametrize("name", ["file", "file.pth", "file.safetensors"])
def test_the_content_decides_and_not_the_name(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    with pytest.raises(MissingFault, match="no file"):
        identify(path)
    write_weights(path, ("a", "b"), "camvid")
    assert identify(path) is FileKind.WEIGHTS
    save_file(TENSORS, path)
    assert identify(path) is FileKind.SAFETENSORS
    assert read_contents(path).tensors.keys() == TENSORS.keys()
    for zipped in (True, False):
        torch.save({"state_dict": TENSORS}, path, _use_new_zipfile_serialization=zipped)
        assert identify(path) is FileKind.TORCH
        assert torch.equal(read_contents(path).tensors["weight"], TENSORS["weight"])
    save_state(path, {"segbench_state": 1, "step": 3, "method": TENSORS})
    assert identify(path) is FileKind.TRAINING_STATE
    with pytest.raises(InvalidFault, match="resumable state of a training"):
        read_contents(path)
    for content in (b"", b"PK\x03\x04 and no more", b"<html>"):
        path.write_bytes(content)
        assert identify(path) is FileKind.OTHER


def test_a_header_of_any_length_is_no_pickle(tmp_path: Path) -> None:
    """The first bytes of safetensors are a length: those of an archive or a pickle, too, can be one."""
    path, text = tmp_path / "x", b'{"weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
    for length in (0x0280, 0x4B50):
        header = text + b" " * (length - len(text) - 1) + b"}"
        path.write_bytes(length.to_bytes(8, "little") + header + bytes(4))
        assert path.read_bytes()[:2] in (b"\x80\x02", b"PK")
        assert identify(path) is FileKind.SAFETENSORS
        assert read_contents(path).tensors["weight"].tolist() == [0.0]


def test_a_family_declares_its_wrapper_prefix_average_and_metadata(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def read(state: Mapping[str, Tensor]) -> ForeignCheckpoint:
        return ForeignCheckpoint("mine", "My net", TINY, 2, dict(state))

    def refine(checkpoint: ForeignCheckpoint, metadata: Mapping[str, Any]) -> ForeignCheckpoint:
        return replace(checkpoint, classes=metadata["about"]["names"])

    mine = Family(
        name="mine",
        title="Mine",
        detect=lambda state: "weight" in state,
        read=read,
        refine=refine,
        state_keys=("student",),
        average_keys=("teacher",),
        prefixes=("core.",),
        metadata_keys=("about",),
    )
    path = tmp_path / "net.pth"
    prefixed = {f"core.{name}": tensor for name, tensor in TENSORS.items()}
    average = {name: tensor + 1 for name, tensor in TENSORS.items()}
    torch.save({"student": prefixed, "teacher": average, "about": {"names": ["a", "b"]}, "other": {"x": 1}}, path)
    with pytest.raises(InvalidFault, match="holds no tensors"):
        read_contents(path)
    monkeypatch.setattr(families, "registered", lambda: {"mine": mine})
    contents = read_contents(path)
    assert torch.equal(contents.tensors["weight"], TENSORS["weight"])
    assert contents.metadata == {"about": {"names": ("a", "b")}}
    assert torch.equal(read_contents(path, averaged=True).tensors["weight"], average["weight"])
    found = recognise(contents.tensors, source="net.pth", metadata={**contents.metadata, "meta": {}})
    assert found.classes == ("a", "b")


def test_a_mapping_in_itself_ends(tmp_path: Path) -> None:
    data: dict[str, Any] = {}
    data["model"] = data
    torch.save(data, tmp_path / "loop.pth")
    with pytest.raises(InvalidFault, match="holds no tensors"):
        read_contents(tmp_path / "loop.pth")


def test_any_checkpoint_opens_by_one_function(tmp_path: Path) -> None:
    path = write_weights(tmp_path / "own", ("a", "b"), "camvid")
    loaded = open_model(path)
    assert loaded.header is not None and loaded.classes == ("a", "b")
    torch.save({"nothing.known": torch.zeros(1)}, path)
    with pytest.raises(InvalidFault, match="none of the known families"):
        open_model(path)
