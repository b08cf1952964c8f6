"""``segbench eval`` and ``weights convert`` on files that name their classes, as those of MMSegmentation do."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from segbench.data.classes import class_table
from tests.checkpoints.families import mmseg_like as mm
from tests.models.random_weights import randomise
from tests.program import Done, segbench

CITYSCAPES = class_table("cityscapes").names
CAMVID = class_table("camvid").names
CONFIGURATION = """
model = dict(
    backbone=dict(type='ResNetV1c', strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2), contract_dilation=True),
    decode_head=dict(type='PSPHead', pool_scales=(1, 2, 3, 6), align_corners=True),
    test_cfg=dict(mode='whole'))
test_pipeline = [dict(type='Resize', scale=(2048, 64), keep_ratio=True)]
"""


def tensors(classes: int) -> dict[str, Tensor]:
    return randomise(mm.pspnet(mm.ResNet((1, 1, 1, 1), width=8), classes, channels=8)).state_dict()


def saved(path: Path, classes: int, **meta: Any) -> Path:
    torch.save({"meta": meta, "state_dict": tensors(classes)}, path)
    return path


def evaluate(path: Path, *words: object, data: Path) -> Done:
    return segbench("eval", "--checkpoint", path, "--out", path.parent / "runs", "--data-root", data, *words)


def test_nineteen_classes_of_another_data_set_are_not_taken_for_cityscapes(tmp_path: Path) -> None:
    own = saved(tmp_path / "own.pth", 19, CLASSES=[f"organ {number}" for number in range(19)])
    said = evaluate(own, data=tmp_path).fails(2)
    assert "names its 19 classes organ 0, organ 1, organ 2, ..." in said and "--dataset is required" in said
    silent = saved(tmp_path / "silent.pth", 19)
    named = saved(tmp_path / "named.pth", 19, dataset_meta={"classes": [each.title() for each in CITYSCAPES]})
    for path in (silent, named):
        assert "Cityscapes is not under" in evaluate(path, data=tmp_path).fails(3)


def test_another_order_is_refused_and_other_names_are_said(camvid: Path, tmp_path: Path) -> None:
    turned = saved(tmp_path / "turned.pth", 11, CLASSES=CAMVID[::-1])
    assert "classes are not those of camvid, or in another order" in evaluate(
        turned, "--dataset", "camvid", data=camvid
    ).fails(4)
    other = saved(tmp_path / "other.pth", 11, CLASSES=[f"organ {number}" for number in range(11)])
    shown = evaluate(other, "--dataset", "camvid", data=camvid)
    assert shown.code == 0, shown
    assert "sky" in shown.out and re.search(r"^ *pedestrian ", shown.out, re.MULTILINE), "names of the data set"
    assert "Note: The file names its classes organ 0, organ 1, organ 2, ...; they are scored as sky, building" in (
        shown.out.replace("\n", " ")
    )


def test_a_configuration_decides_how_the_file_is_scored(camvid: Path, tmp_path: Path) -> None:
    said = saved(tmp_path / "said.pth", 11, CLASSES=CAMVID, config=CONFIGURATION)
    record = evaluate(said, "--json", data=camvid).json
    assert record["dataset"] == "camvid"
    assert {"short_side": 64, "max_side": 2048, "enlarge": "twice"}.items() <= record["evaluation_spec"].items()
    model = record["training_spec"]["model"]
    assert model["align_corners"] is True and model["backbone"]["output_stride"] == 16
    silent = evaluate(saved(tmp_path / "silent.pth", 11), "--json", data=camvid).json
    assert "short_side" not in silent["evaluation_spec"] and "align_corners" not in silent["training_spec"]["model"]


def test_a_network_that_segbench_has_not_is_refused_in_one_line(camvid: Path, tmp_path: Path) -> None:
    text = CONFIGURATION.replace("contract_dilation", "multi_grid=(1, 2, 4), contract_dilation")
    path = saved(tmp_path / "mg.pth", 11, CLASSES=CAMVID, config=text)
    done = evaluate(path, data=camvid)
    said = done.fails(4)
    assert "multi_grid (1, 2, 4); segbench has no such network" in said
    assert len(said.strip().splitlines()) == 2 and done.lines[-1].startswith("Next: segbench eval")


@pytest.mark.parametrize("named", [True, False])
def test_convert_concludes_the_classes_from_their_names(named: bool, tmp_path: Path) -> None:
    path = saved(tmp_path / "net.pth", 19, **({"CLASSES": CITYSCAPES} if named else {}))
    done = segbench("weights", "convert", path, "--to", "segbench", "--output", tmp_path / "own.safetensors")
    if named:
        assert done.code == 0, done
        assert "19 classes of cityscapes" in done.out
    else:
        assert "those of cityscapes or gta5; name the data set" in done.fails(2)
    odd = saved(tmp_path / "odd.pth", 19, CLASSES=[f"organ {number}" for number in range(19)])
    said = segbench("weights", "convert", odd, "--to", "segbench").fails(2)
    assert "organ 0, organ 1, organ 2, ..., which are of no data set" in said
