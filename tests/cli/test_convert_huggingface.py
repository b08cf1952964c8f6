"""``segbench weights convert --to huggingface``: a folder that transformers loads, and that answers alike."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from segbench.checkpoints.weights_file import WeightsHeader, save_weights
from segbench.core.spec import Choice, ModelSpec
from segbench.data.classes import class_table
from segbench.models.segmentor import Segmentor, build_segmentor
from tests.models.random_weights import randomise
from tests.program import Done, segbench

CAMVID = class_table("camvid").names
# No published size, nothing at its default that a configuration says, and everything different from stage to stage.
SEGFORMER = ModelSpec(
    backbone=Choice(
        name="mit",
        options={
            "variant": "hf", "widths": (8, 16, 40, 64), "depths": (1, 2, 1, 2), "heads": (1, 2, 5, 8),
            "patch_sizes": (5, 3, 3, 3), "reductions": (4, 2, 2, 1), "mlp_ratio": 3,
        },
    ),
    decoder=Choice(name="segformer", options={"channels": 12}),
)  # fmt: skip
SWIN = {"embed": 6, "depths": (2, 2, 2, 1), "heads": (1, 2, 3, 4), "window": 5}
UPERNET = ModelSpec(
    backbone=Choice(name="swin", options=SWIN),
    decoder=Choice(name="upernet", options={"channels": 8, "aux_channels": 4}),
)
PLAIN = UPERNET.model_copy(update={"decoder": Choice(name="upernet", options={"channels": 8, "auxiliary": False})})
NETWORKS = {
    "segformer": (SEGFORMER, "SegformerForSemanticSegmentation"),
    "upernet": (UPERNET, "UperNetForSemanticSegmentation"),
    "upernet without its auxiliary classifier": (PLAIN, "UperNetForSemanticSegmentation"),
}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def own(model: ModelSpec) -> Segmentor:
    network = randomise(build_segmentor(model, num_classes=len(CAMVID))).eval()
    save_weights(Path("own.safetensors"), network, WeightsHeader(model, CAMVID, "camvid", step=7))
    return network


def convert(*words: object) -> Done:
    return segbench("weights", "convert", "own.safetensors", "--to", "huggingface", *words)


@pytest.mark.parametrize("kind", NETWORKS)
def test_from_pretrained_takes_the_folder_and_answers_alike(kind: str) -> None:
    transformers: Any = pytest.importorskip("transformers", minversion="5.23")
    model, name = NETWORKS[kind]
    network = own(model)
    done = convert()
    assert done.code == 0, done.err
    folder = Path("own-huggingface")
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    assert "config.json beside it" in done.out and done.out.endswith(f"--checkpoint {folder}/model.safetensors\n")
    theirs, loading = getattr(transformers, name).from_pretrained(folder, output_loading_info=True)
    assert not any(loading[what] for what in ("unexpected_keys", "mismatched_keys"))
    # a norm that version 5 has and never computes is the only one that may be new
    assert all("layernorm" in key and "backbone" in key for key in loading["missing_keys"]), loading
    assert [theirs.config.id2label[number] for number in range(len(CAMVID))] == list(CAMVID)
    assert theirs.config.label2id == {name: number for number, name in enumerate(CAMVID)}
    for size in [(64, 96), (90, 122)]:
        image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(1))
        with torch.inference_mode():
            ours, answer = network(image).logits, theirs.eval()(image).logits
        if answer.shape != ours.shape:  # UPerNet of transformers enlarges its logits itself
            ours = network.resize(ours, size)
        assert answer.shape == ours.shape
        assert (answer - ours).abs().max() <= 1e-4 * ours.abs().max(), size


def test_the_folder_is_a_checkpoint_again(camvid: Path) -> None:
    own(SEGFORMER)
    assert convert("--output", "net").code == 0
    records = [
        segbench("eval", "--checkpoint", each, "--data-root", camvid, "--out", "runs", "--json").json
        for each in ("net", "net/model.safetensors")
    ]
    assert records[0]["id"] == records[1]["id"]
    Path("empty").mkdir()
    said = segbench("eval", "--checkpoint", "empty", "--out", "runs").fails(3)
    assert "There is no file empty; it is a folder, which has none of model.safetensors" in said


def test_what_is_there_is_not_written_over() -> None:
    own(SEGFORMER)
    for name in ("config.json", "model.safetensors"):
        folder = Path(f"with-{name[0]}")
        folder.mkdir()
        (folder / name).write_text("mine")
        assert f"{folder / name} exists already" in convert("--output", folder).fails(2)
        assert [(each.name, each.read_text()) for each in folder.iterdir()] == [(name, "mine")]
        assert convert("--output", folder, "--force").code == 0
        assert json.loads((folder / "config.json").read_text())["model_type"] == "segformer"


def test_a_file_of_another_name_is_no_checkpoint_there() -> None:
    own(SEGFORMER)
    done = convert("--output", "net.safetensors")
    assert "is a folder with model.safetensors and its configuration, not net.safetensors" in done.fails(2)
    assert done.lines[-1] == "Next: the same command with --output net" and not Path("net.safetensors").exists()
    assert convert("--output", "deep/er/model.safetensors").code == 0
    assert Path("deep/er/config.json").is_file()


def test_a_network_that_it_has_not_leaves_nothing_behind() -> None:
    other = Choice(name="upernet", options={"channels": 8, "aux_layer": -1, "aux_channels": 4})
    own(UPERNET.model_copy(update={"decoder": other}))
    assert "reads the last layer but one, not layer -1" in convert("--output", "net").fails(4)
    own(SEGFORMER.model_copy(update={"align_corners": True}))
    assert "align_corners False where this network has True" in convert("--output", "net").fails(4)
    assert [path.name for path in Path().iterdir()] == ["own.safetensors"]
