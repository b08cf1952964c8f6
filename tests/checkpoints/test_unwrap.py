"""Checkpoint files in every wrapping, and files that are none."""

import argparse
import pickle
import re
import warnings
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from segbench.checkpoints.unwrap import read_tensors
from segbench.core.errors import InvalidFault, MissingFault

NETWORK = {
    "stem.weight": torch.arange(24.0).reshape(2, 3, 2, 2),
    "stem.bias": torch.tensor([1.5, -2.0]),
    "norm.num_batches_tracked": torch.tensor(7),
}
OTHER = {name: tensor + 100 for name, tensor in NETWORK.items()}
OPTIMISER = {"state": {0: {"momentum_buffer": torch.zeros(3)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}


def saved(path: Path, content: object, *, zipped: bool = True) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


def same(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> bool:
    return list(found) == list(wanted) and all(torch.equal(found[name], wanted[name]) for name in wanted)


def prefixed(prefix: str) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in NETWORK.items()}


WRAPPED: dict[str, Any] = {
    "bare": NETWORK,
    "ordered": OrderedDict(NETWORK),
    "state_dict": {"state_dict": NETWORK, "epoch": 3},
    "model_state_dict": {"model_state_dict": NETWORK, "loss": 0.5},
    "model_state": {"model_state": NETWORK},
    "model": {"model": NETWORK, "optimizer": OPTIMISER},
    "network": {"network": NETWORK},
    "two deep": {"model": {"state_dict": NETWORK, "iteration": 5}},
    "beside data": {"meta": {"CLASSES": ("road", "sky"), "PALETTE": [[1, 2, 3]], "lr": None}, "state_dict": NETWORK},
    "beside text": {**NETWORK, "version": "1.2", "steps": 80_000},
    "an empty wrapper beside": {"state_dict": {}, "model": NETWORK},
    "settings under a wrapper's name": {"model": {"name": "hrnet", "width": 48}, "net": NETWORK},
    "module.": {"state_dict": prefixed("module.")},
    "compiled": prefixed("_orig_mod."),
    "both prefixes": prefixed("module._orig_mod."),
    "module twice": prefixed("module.module."),
}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("wrapping", WRAPPED)
def test_every_wrapping_gives_the_same_tensors(wrapping: str, zipped: bool, tmp_path: Path) -> None:
    assert same(read_tensors(saved(tmp_path / "net.pth", WRAPPED[wrapping], zipped=zipped)), NETWORK)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_safetensors(prefix: str, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_file(prefixed(prefix), path)
    found = read_tensors(path)
    assert same(dict(sorted(found.items())), dict(sorted(NETWORK.items())))


def test_a_prefix_that_not_all_have_is_part_of_the_name(tmp_path: Path) -> None:
    mixed = {**prefixed("module."), "loss.weight": torch.ones(1)}
    assert same(read_tensors(saved(tmp_path / "net.pth", mixed)), mixed)


def test_tensors_of_other_devices_types_and_shapes_are_kept(tmp_path: Path) -> None:
    state = {"half": torch.ones(2, dtype=torch.bfloat16), "scalar": torch.tensor(3), "none": torch.empty(0, 4)}
    found = read_tensors(saved(tmp_path / "net.pth", {"model": state}))
    assert {name: (t.dtype, t.shape) for name, t in found.items()} == {n: (t.dtype, t.shape) for n, t in state.items()}


@pytest.mark.parametrize("name", ["state_dict_ema", "model_ema", "ema_state_dict", "ema"])
def test_the_average_is_taken_only_where_it_is_asked_for(name: str, tmp_path: Path) -> None:
    path = saved(tmp_path / "net.pth", {"state_dict": NETWORK, name: {f"module.{k}": v for k, v in OTHER.items()}})
    assert same(read_tensors(path), NETWORK)
    assert same(read_tensors(path, averaged=True), OTHER)


def test_no_average(tmp_path: Path) -> None:
    path = saved(tmp_path / "net.pth", {"state_dict": NETWORK})
    with pytest.raises(InvalidFault, match="no moving average"):
        read_tensors(path, averaged=True)


NONE: dict[str, tuple[object, str]] = {
    "optimiser alone": ({"optimizer": OPTIMISER, "epoch": 3}, "state of an optimizer, but no network"),
    "an optimiser's own state": (OPTIMISER, "state of an optimizer, but no network"),
    "a tensor": (torch.ones(3), "holds Tensor, not tensors by name"),
    "a list": ([torch.ones(3)], "holds list, not tensors by name"),
    "nothing": ({}, "holds no tensors"),
    "numbers": ({"epoch": 3, "miou": 0.5}, "holds no tensors"),
    "empty wrappers": ({"state_dict": {}, "model": {}}, "holds no tensors"),
}


@pytest.mark.parametrize("what", NONE)
def test_files_without_a_network(what: str, tmp_path: Path) -> None:
    content, said = NONE[what]
    path = saved(tmp_path / "net.pth", content)
    with pytest.raises(InvalidFault, match=said) as caught:
        read_tensors(path)
    assert str(path) in caught.value.faults[0] and caught.value.next.startswith("segbench ")


def test_no_file(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.pth", tmp_path):
        with pytest.raises(MissingFault, match="no file"):
            read_tensors(path)


class Trap:
    """What a file of an attacker could hold: unpickling it would write a file."""

    def __init__(self, sprung: Path) -> None:
        self.sprung = sprung

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.sprung,)


@pytest.mark.parametrize("how", ["zip", "legacy", "plain pickle"])
def test_code_in_a_file_is_refused_and_never_runs(how: str, tmp_path: Path) -> None:
    sprung, path = tmp_path / "sprung", tmp_path / "net.pth"
    content = {"state_dict": NETWORK, "extra": Trap(sprung)}
    if how == "plain pickle":
        path.write_bytes(pickle.dumps({"extra": Trap(sprung)}, protocol=2))
    else:
        saved(path, content, zipped=how == "zip")
    with pytest.raises(InvalidFault, match="loading it would run code, so it is refused") as caught:
        read_tensors(path)
    assert not sprung.exists()
    assert "(getattr)" in caught.value.faults[0], "it says what it would call first"
    torch.load(path, weights_only=False) if how != "plain pickle" else pickle.loads(path.read_bytes())
    assert sprung.exists(), "the trap is one"


def test_objects_that_are_no_tensors_are_refused_by_name(tmp_path: Path) -> None:
    """torchvision's reference training keeps its command line beside the network."""
    path = saved(tmp_path / "net.pth", {"model": NETWORK, "args": argparse.Namespace(lr=0.1)})
    with pytest.raises(InvalidFault, match=r"\(argparse\.Namespace\)"):
        read_tensors(path)
    path = saved(tmp_path / "whole.pth", torch.nn.Conv2d(1, 1, 1))
    with pytest.raises(InvalidFault, match=r"\(torch\.nn\.modules\.conv\.Conv2d\)"):
        read_tensors(path)


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_a_file_that_is_cut_short_is_damaged_wherever_it_is_cut(kind: str, tmp_path: Path) -> None:
    path = tmp_path / ("net.safetensors" if kind == "safetensors" else "net.pth")
    if kind == "safetensors":
        save_file(NETWORK, path)
    else:
        saved(path, {"state_dict": NETWORK, "epoch": 3}, zipped=kind == "zip")
    whole = path.read_bytes()
    assert len(whole) > 100
    for cut in range(0, len(whole), max(1, len(whole) // 150)):
        path.write_bytes(whole[:cut])
        with pytest.raises(InvalidFault) as caught:
            read_tensors(path)
        (said,) = caught.value.faults
        # cut within the name of a class, the old format asks for another one
        asks = kind == "legacy" and said.endswith("so it is refused.")
        assert ("is damaged or no" in said or asks) and "\n" not in said, cut


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", ["zip", "legacy"])
def test_a_garbled_file_raises_nothing_else(kind: str, tmp_path: Path) -> None:
    path = saved(tmp_path / "net.pth", {"state_dict": NETWORK, "epoch": 3}, zipped=kind == "zip")
    whole = path.read_bytes()
    generator = torch.Generator().manual_seed(0)
    refused = 0
    for _ in range(300):
        place, value = (int(torch.randint(high, (), generator=generator)) for high in (len(whole), 256))
        path.write_bytes(whole[:place] + bytes([value]) + whole[place + 1 :])
        try:
            read_tensors(path)
        except InvalidFault:
            refused += 1
    assert refused > 30


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"<html>404</html>", b"version https://git-lfs\n", bytes(512)])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".bin"])
def test_files_that_never_were_checkpoints(content: bytes, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"net{suffix}"
    path.write_bytes(content)
    with pytest.raises(InvalidFault, match="is damaged or no"):
        read_tensors(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "it is empty."),
        (b"\n <!DOCTYPE HTML><title>Sign in</title>", "it is a web page, which a server gave"),
        (b"<html>404</html>", "it is a web page, which a server gave"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "it is a pointer of Git LFS"),
    ],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_what_was_fetched_in_the_place_of_a_checkpoint_is_named(
    suffix: str, content: bytes, says: str, tmp_path: Path
) -> None:
    path = tmp_path / f"net{suffix}"
    path.write_bytes(content)
    with pytest.raises(InvalidFault, match=re.escape(says)) as caught:
        read_tensors(path)
    assert caught.value.next == f"segbench eval --checkpoint {path}, once it has been downloaded or copied again"


def test_half_a_file_says_that_its_end_is_missing(tmp_path: Path) -> None:
    path = saved(tmp_path / "net.pth", {"state_dict": NETWORK})
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InvalidFault, match=r"net\.pth is damaged or not a checkpoint: its end is missing\.$"):
        read_tensors(path)


@pytest.mark.parametrize("name", ["state_dict_ema", "model_ema", "ema_state_dict", "ema"])
def test_an_average_alone_is_found_where_it_is_asked_for(name: str, tmp_path: Path) -> None:
    path = saved(tmp_path / "net.pth", {name: OTHER, "optimizer": OPTIMISER})
    with pytest.raises(InvalidFault, match="holds only a moving average of weights") as caught:
        read_tensors(path)
    assert caught.value.next == f"segbench eval --checkpoint {path} --ema"
    assert same(read_tensors(path, averaged=True), OTHER)


@pytest.mark.parametrize("protocol", [4, 5])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_newer_pickle_is_no_damage_and_says_what_to_do(protocol: int, zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    content = {"state_dict": NETWORK}
    torch.save(content, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InvalidFault, match=f"written with pickle protocol {protocol}, which is not read") as caught:
            read_tensors(path)
    assert "damaged" not in caught.value.faults[0] and "saved its state_dict" in caught.value.next


def test_torchs_word_about_an_old_protocol_is_kept_back_and_others_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "net.pth"
    torch.save({"state_dict": NETWORK}, path, pickle_protocol=3)
    with pytest.warns(UserWarning, match="pickle protocol 3"):
        torch.load(path, weights_only=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert same(read_tensors(path), NETWORK)
    load = torch.load

    def warned(*words: Any, **options: Any) -> Any:
        warnings.warn("Something else.", UserWarning, stacklevel=2)
        return load(*words, **options)

    monkeypatch.setattr(torch, "load", warned)
    with pytest.warns(UserWarning, match=r"Something else\."):
        read_tensors(path)
