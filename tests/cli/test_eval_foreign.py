"""``segbench eval`` on checkpoints of other projects: recognised or refused, scored with their conventions."""

import hashlib
import pickle
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from segbench.checkpoints import families
from segbench.checkpoints import published as checkpoints
from segbench.checkpoints.published import PublishedCheckpoint, PublishedFigure, PublishedProtocol
from segbench.core.spec import DataSpec, EvaluationSpec, evaluation_id
from segbench.data.classes import class_table
from segbench.data.open import open_dataset
from segbench.engine import evaluate as engine
from segbench.engine.predict import predict
from segbench.engine.runtime import Runtime
from tests.foreign_family import INPUT, MOON, PREFIX, TITLE, network, state_of, write_moon
from tests.program import Done, segbench


@pytest.fixture(autouse=True)
def _moon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The only family that there is."""
    monkeypatch.setattr(families, "registered", lambda: {"moon": MOON})


@pytest.fixture
def moon(tmp_path: Path) -> Path:
    return write_moon(tmp_path / "moon.pth")


def evaluate(path: object, *words: object, out: Path, data: Path | None = None) -> Done:
    return segbench("eval", "--checkpoint", path, "--out", out, *(["--data-root", data] if data else []), *words)


def expected_matrix(root: Path, align_corners: bool = True, input: Any = INPUT, **fields: Any) -> list[list[int]]:
    """What the network predicts, image by image, counted pixel by pixel."""
    spec = EvaluationSpec(data=DataSpec(name="camvid", splits=("val",)), **fields)
    images, made = open_dataset(spec.data, root=root), network()
    made.align_corners = align_corners
    matrix = np.zeros((11, 11), np.int64)
    for index in range(len(images)):
        pixels, label = images.read(index)
        image = torch.tensor(pixels).permute(2, 0, 1)[None]
        with torch.inference_mode():
            found = predict(made, image, spec, input=input, size=label.shape, runtime=Runtime())[0].numpy()
        np.add.at(matrix, (label[label != 255], found[label != 255]), 1)
    return matrix.tolist()


def counts(out: Path, record: dict[str, Any]) -> list[list[int]]:
    with np.load(out / "records" / record["counts"]) as data:
        return data["matrix"].tolist()


def test_recognised_scored_and_recorded(moon: Path, camvid: Path, tmp_path: Path) -> None:
    done = evaluate(moon, out=tmp_path / "out", data=camvid)
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    tensors = sum(not name.endswith("num_batches_tracked") for name in network().state_dict())
    assert lines[0] == (
        f"Recognised: {TITLE}, HRNetV2-W8-small, 11 classes, align_corners=True, BGR ImageNet normalisation. "
        f"{tensors} of {tensors} tensors matched. Left out: proj_head (2)."
    )
    assert lines[1] == "Note: Its orbits are not modelled."
    assert lines[2] == "camvid val, 2 images"
    assert all(any(line.startswith(f"{name} ") for line in lines) for name in class_table("camvid").names)
    assert re.search(r"^\d+\.\d{3} s/image   .*\d\.\d\d M parameters   \d+\.\d G multiply-adds at 48x64 \(thop\)$",
                     done.out, flags=re.MULTILINE)  # fmt: skip
    assert re.match(r"mIoU \d+\.\d\d   pixel accuracy ", lines[-2])
    assert lines[-1] == f"Next: segbench eval --checkpoint {moon} --sweep"
    record = evaluate(moon, "--json", out=tmp_path / "out", data=camvid).json
    assert record["kind"] == "checkpoint" and record["dataset"] == "camvid"
    assert record["training"] == hashlib.sha256(moon.read_bytes()).hexdigest()
    assert record["training_spec"]["family"] == "moon" and record["training_spec"]["dropped"] == 2
    assert record["provenance"]["cost"]["rule"] == "thop" and record["figures"]["flops_g"] > 0
    assert record["deviations"] == []
    assert counts(tmp_path / "out", record) == expected_matrix(camvid)


def test_weights_of_segbench_keep_their_ids(cityscapes: Path, cityscapes_weights: Path, tmp_path: Path) -> None:
    sha256 = hashlib.sha256(cityscapes_weights.read_bytes()).hexdigest()
    spec = EvaluationSpec(data=DataSpec(name="cityscapes", splits=("val",)))
    record = evaluate(cityscapes_weights, "--json", out=tmp_path, data=cityscapes).json
    assert record["id"] == evaluation_id(sha256, spec) and record["evaluation_spec"] == spec.canonical()
    other = evaluate(cityscapes_weights, "--channels", "bgr", "--json", out=tmp_path, data=cityscapes).json
    assert other["id"] != record["id"]
    assert [each["says"] for each in other["deviations"]] == ["input channels bgr instead of rgb"]
    back = evaluate(cityscapes_weights, "--channels", "rgb", "--mean", "imagenet", "--no-align-corners", "--json",
                    out=tmp_path, data=cityscapes).json  # fmt: skip
    assert back["id"] == record["id"], "what the file says anyway is nothing new"


def test_conventions_of_the_user_reach_the_network(moon: Path, camvid: Path, tmp_path: Path) -> None:
    own = evaluate(moon, "--json", out=tmp_path, data=camvid).json
    ids = {own["id"]}
    for words, changes in (
        (["--channels", "rgb"], {"input": INPUT.model_copy(update={"channels": "rgb"})}),
        (["--mean", "half"], {"input": INPUT.model_copy(update={"mean": (0.5,) * 3, "std": (0.5,) * 3})}),
        (["--mean", "51,51,51", "--std", "255,255,255"],
         {"input": INPUT.model_copy(update={"mean": (0.2,) * 3, "std": (1.0,) * 3})}),
        (["--flip"], {"flip": True}),
        (["--scales", "0.5,1"], {"scales": (0.5, 1.0)}),
        (["--window", "32x48", "--stride", "16x16"], {"mode": "slide", "window": (32, 48), "stride": (16, 16)}),
    ):  # fmt: skip
        record = evaluate(moon, *words, "--json", out=tmp_path, data=camvid).json
        assert counts(tmp_path, record) == expected_matrix(camvid, **changes), words
        ids.add(record["id"])
    assert len(ids) == 7
    aligned = evaluate(moon, "--no-align-corners", "--json", out=tmp_path, data=camvid).json
    assert counts(tmp_path, aligned) != counts(tmp_path, own)
    assert [each["path"] for each in aligned["deviations"]] == ["model.align_corners"]


def test_protocols(moon: Path, camvid: Path, tmp_path: Path) -> None:
    def spec(*words: str) -> dict[str, Any]:
        return evaluate(moon, *words, "--json", out=tmp_path, data=camvid).json["evaluation_spec"]

    slide = {"mode": "slide", "window": [32, 32], "stride": [24, 24]}
    many = {"scales": [0.5, 0.75, 1.0, 1.25, 1.5, 1.75], "flip": True}
    data = {"data": {"name": "camvid", "splits": ["val"]}}
    assert spec("--protocol", "whole") == data
    assert spec("--protocol", "slide") == spec("--protocol", "published") == {**data, **slide}
    assert spec("--protocol", "ms-flip") == {**data, **slide, **many}
    assert spec("--protocol", "ms-flip", "--scales", "1,1.5", "--no-flip") == {**data, **slide, "scales": [1.0, 1.5]}
    assert spec("--window", "30") == {**data, "mode": "slide", "window": [30, 30], "stride": [20, 20]}


def test_windows_of_segbenchs_weights_are_its_crops(weights: Path, cityscapes_weights: Path, tmp_path: Path) -> None:
    record = evaluate(weights, "--protocol", "slide", "--json", out=tmp_path).json
    assert record["evaluation_spec"]["window"] == [64, 64] and record["evaluation_spec"]["stride"] == [43, 43]
    done = evaluate(cityscapes_weights, "--protocol", "slide", out=tmp_path)
    assert "No window is known" in done.fails(2)
    assert done.lines[-1].endswith("--protocol slide --window 512x1024")


@pytest.mark.parametrize("way", ["parallel", "bare", "wrapped", "safetensors", "ema", "twice"])
def test_wrappers_and_prefixes(way: str, camvid: Path, tmp_path: Path) -> None:
    made, path, words = network(), tmp_path / "x.pth", []
    state = state_of(made)
    if way == "parallel":
        torch.save(
            {"state_dict": state_of(made, prefix="module."), "epoch": 3, "optimizer": {"param_groups": []}}, path
        )
    elif way == "bare":
        torch.save(state, path)
    elif way == "wrapped":
        torch.save({"model": {"state_dict": state}}, path)
    elif way == "safetensors":
        path = tmp_path / "x.safetensors"
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    elif way == "twice":
        torch.save({"state_dict": state_of(made, prefix="module._orig_mod.")}, path)
    else:
        zeros = {name: torch.zeros_like(tensor) for name, tensor in state.items()}
        torch.save({"state_dict": zeros, "state_dict_ema": state}, path)
        words = ["--ema"]
    record = evaluate(path, *words, "--json", out=tmp_path, data=camvid).json
    assert counts(tmp_path, record) == expected_matrix(camvid)


def test_no_average_where_there_is_none(moon: Path, tmp_path: Path) -> None:
    assert "holds no moving average" in evaluate(moon, "--ema", out=tmp_path).fails(4)


def test_part_of_a_network(camvid: Path, tmp_path: Path) -> None:
    state = state_of(network())
    gone = [name for name in state if "stage3" in name and not name.endswith("num_batches_tracked")][:5]
    torch.save({name: tensor for name, tensor in state.items() if name not in gone}, tmp_path / "part.pth")
    done = evaluate(tmp_path / "part.pth", out=tmp_path, data=camvid)
    assert f"5 missing tensors, e.g. {gone[0].removeprefix(PREFIX)}" in done.fails(4)
    assert "--allow-partial" in done.lines[-1]
    record = evaluate(tmp_path / "part.pth", "--allow-partial", "--json", out=tmp_path, data=camvid).json
    assert record["training_spec"]["left_random"] == sorted(name.removeprefix(PREFIX) for name in gone)
    (said,) = record["deviations"]
    assert said["material"] and "5 of " in said["says"] and "left at random" in said["says"]
    shown = evaluate(tmp_path / "part.pth", "--allow-partial", out=tmp_path, data=camvid)
    assert "Deviation: 5 of " in shown.out


def test_another_number_of_classes(tmp_path: Path, camvid: Path) -> None:
    path = write_moon(tmp_path / "ade.pth", dataset="ade20k")
    done = evaluate(path, "--dataset", "camvid", out=tmp_path, data=camvid)
    assert "The checkpoint predicts 150 classes, camvid has 11: its scores would mean nothing." in done.fails(4)
    assert done.lines[-1] == f"Next: segbench eval --checkpoint {path} --dataset ade20k"
    assert "is not under" in evaluate(path, out=tmp_path, data=camvid).fails(3), "ADE20K is guessed"
    torch.save(state_of(network(7)), tmp_path / "odd.pth")
    assert "--dataset is required" in evaluate(tmp_path / "odd.pth", out=tmp_path).fails(2)


@pytest.mark.parametrize(
    ("classes", "words", "says"),
    [
        (19, [], "Cityscapes is not under"),
        (150, [], "ADE20K (SceneParse150) is not under"),
        (59, [], "PASCAL-Context is not under"),
        (60, [], "PASCAL-Context is not under"),
        (60, ["--dataset", "pascal-context"], "PASCAL-Context is not under"),
        (59, ["--classes", "pascal-context"], "PASCAL-Context is not under"),
        (171, [], "COCO-Stuff 10k is not under"),
        (21, [], "PASCAL VOC 2012 is not under"),
        (19, ["--dataset", "gta5"], "GTA5"),
        (11, [], "CamVid is not under"),
    ],
)
def test_the_data_set_is_guessed_from_the_classes(classes: int, words: list[str], says: str, tmp_path: Path) -> None:
    torch.save(state_of(network(classes)), tmp_path / "x.pth")
    assert says in evaluate(tmp_path / "x.pth", *words, out=tmp_path, data=tmp_path).fails(3)


def test_a_table_that_is_not_the_data_sets(tmp_path: Path) -> None:
    torch.save(state_of(network(60)), tmp_path / "x.pth")
    words = ["--dataset", "pascal-context", "--classes", "ade20k"]
    assert "has no class table 'ade20k'" in evaluate(tmp_path / "x.pth", *words, out=tmp_path).fails(2)
    words = ["--classes", "pascal-context-59"]
    assert "predicts 60 classes, pascal-context has 59" in evaluate(tmp_path / "x.pth", *words, out=tmp_path).fails(4)


def test_files_that_are_no_network(moon: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.pth"
    cut.write_bytes(moon.read_bytes()[: len(moon.read_bytes()) // 2])
    assert "damaged" in evaluate(cut, out=tmp_path).fails(4)
    torch.save({"optimizer": {"state": {}, "param_groups": []}}, tmp_path / "steps.pth")
    assert "state of an optimizer, but no network" in evaluate(tmp_path / "steps.pth", out=tmp_path).fails(4)
    torch.save({"segbench_state": 1, "step": 3}, tmp_path / "state.pt")
    assert "resumable state of a training" in evaluate(tmp_path / "state.pt", out=tmp_path).fails(4)


class Config:
    """As the pickled settings in old checkpoints."""


def test_objects_are_refused_unread(tmp_path: Path) -> None:
    torch.save({"state_dict": state_of(network()), "config": Config()}, tmp_path / "object.pth")
    text = evaluate(tmp_path / "object.pth", out=tmp_path).fails(4)
    assert "more than tensors" in text and "refused" in text
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "object.pth", weights_only=True)


def test_the_wrong_family(moon: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    torch.save({"nothing.known": torch.zeros(1)}, tmp_path / "x.pth")
    assert "No checkpoint family 'mars'" in evaluate(moon, "--family", "mars", out=tmp_path).fails(2)
    text = evaluate(tmp_path / "x.pth", out=tmp_path).fails(4)
    assert "of none of the known families" in text and "MODULE:FUNCTION" in text
    sun = replace(MOON, name="sun", detect=lambda state: False)
    monkeypatch.setattr(families, "registered", lambda: {"moon": MOON, "sun": sun})
    done = evaluate(moon, "--family", "sun", out=tmp_path)
    assert "is laid out as moon, not as sun" in done.fails(4)
    assert done.lines[-1] == f"Next: segbench eval --checkpoint {moon} --family moon"
    assert "cannot be combined with --family" in evaluate(weights, "--family", "moon", out=tmp_path).fails(2)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--channels", "xyz"], "--channels takes rgb or bgr"),
        (["--mean", "imagnet"], "--mean takes imagenet, or three numbers, got 'imagnet'"),
        (["--mean", "1,2"], "three numbers"),
        (["--mean", "0.1,0.2,0.3"], "--mean and --std must be given together"),
        (["--mean", "0.1,0.2,0.3", "--std", "0,1,1"], "above 0"),
        (["--window", "axb"], "HEIGHTxWIDTH"),
        (["--scales", "0.01"], "factors from 0.1 to 4"),
        (["--protocol", "whole", "--window", "32"], "cannot be combined with --protocol whole"),
        (["--stride", "32"], "cannot be combined with --protocol whole"),
        (["--encoding", "train-ids"], "--encoding cannot be combined with --checkpoint"),
        (["--predictions", "."], "Either --checkpoint or --predictions"),
        (["--axes", "nosuch"], "No axis 'nosuch'"),
    ],
)
def test_misuse(words: list[str], says: str, moon: Path, camvid: Path, tmp_path: Path) -> None:
    assert says in evaluate(moon, *words, out=tmp_path / "out", data=camvid).fails(2)


def test_windows_with_gaps(moon: Path, camvid: Path, tmp_path: Path) -> None:
    words = ["--window", "32", "--stride", "40"]
    assert "would leave gaps" in evaluate(moon, *words, out=tmp_path, data=camvid).fails(4)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
)
def test_memory_that_does_not_suffice(
    error: Exception, moon: Path, camvid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(engine, "predict", fails)
    done = evaluate(moon, out=tmp_path, data=camvid)
    assert "ran out of memory." in done.fails(5)
    assert done.lines[-1] == f"Next: segbench eval --checkpoint {moon} --protocol slide --window 512x1024"
    smaller = evaluate(moon, "--window", "48x64", out=tmp_path, data=camvid)
    assert smaller.fails(5) and smaller.lines[-1].endswith("--protocol slide --window 24x32")


def test_other_errors_of_the_engine_are_bugs(
    moon: Path, camvid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("shapes cannot be multiplied")

    monkeypatch.setattr(engine, "predict", fails)
    assert evaluate(moon, out=tmp_path, data=camvid).code == 1


@pytest.fixture
def published(moon: Path, monkeypatch: pytest.MonkeyPatch) -> PublishedCheckpoint:
    """The file, known by its name, with a figure of ms + flip."""
    fields: dict[str, Any] = {"scales": [0.5, 0.75, 1.0, 1.25, 1.5, 1.75], "flip": True}
    spec = EvaluationSpec(data=DataSpec(name="camvid", splits=("val",)), **fields)
    figure = PublishedFigure(
        "miou", "81.6", PublishedProtocol(short="ms+flip", words="", fields=fields), spec, "read", "a table"
    )
    entry = PublishedCheckpoint(
        "moon-camvid", "moon", "moon", "HRNet", (f"http://127.0.0.1:9/{moon.name}",), "", "camvid", "camvid", "val",
        (figure,), "", None, "none", (), "none",
    )  # fmt: skip
    monkeypatch.setattr(checkpoints, "checkpoint_table", lambda: (entry,))
    return entry


def test_the_published_figure_stands_beside(
    moon: Path, published: PublishedCheckpoint, camvid: Path, tmp_path: Path
) -> None:
    lines = evaluate(moon, out=tmp_path, data=camvid).out.splitlines()
    assert lines[-2:] == [
        "Published for this file: 81.6 (ms+flip). You ran: single scale.",
        f"Next: segbench eval --checkpoint {moon} --protocol ms-flip",
    ]
    words = ["--protocol", "published"]
    done = evaluate(moon, *words, out=tmp_path, data=camvid)
    record = evaluate(moon, *words, "--json", out=tmp_path, data=camvid).json
    miou = record["figures"]["miou"]
    assert f"Published for this file: 81.6 (ms+flip). Here: {miou:.2f} ({miou - 81.6:+.2f})." in done.out
    assert record["evaluation_spec"]["flip"] is True and record["deviations"] == []
    assert record["provenance"]["published"]["figures"][0]["value"] == "81.6"
    plain = evaluate(moon, "--json", out=tmp_path, data=camvid).json
    assert {each["path"] for each in plain["deviations"]} == {"evaluation.scales", "evaluation.flip"}


def test_the_published_figure_of_another_split(
    moon: Path, published: PublishedCheckpoint, camvid: Path, tmp_path: Path
) -> None:
    done = evaluate(moon, "--split", "test", out=tmp_path, data=camvid)
    assert "Published for this file: 81.6 (ms+flip), on camvid val." in done.out


def test_exported_for_a_server(cityscapes: Path, tmp_path: Path) -> None:
    path = write_moon(tmp_path / "streets.pth", dataset="cityscapes")
    words = ["--checkpoint", path, "--dataset", "cityscapes", "--data-root", cityscapes, "--out", tmp_path, "--json"]
    done = segbench("export", *words)
    assert done.code == 0, done.err
    assert done.json["images"] == 2
