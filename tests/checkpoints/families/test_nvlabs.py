"""SegFormer of its authors, generated from its definition: read, computed, counted, written back."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from segbench.checkpoints import families
from segbench.checkpoints.loading import match
from segbench.checkpoints.open import open_foreign
from segbench.checkpoints.recognise import recognise
from segbench.core.errors import InvalidFault
from segbench.core.spec import Choice, EvaluationSpec, ModelSpec
from segbench.models.segmentor import build_segmentor
from tests.checkpoints.families import segformer_like as mit_like
from tests.checkpoints.families.registered import registered
from tests.models.random_weights import randomise

nvlabs: Any = families.get("nvlabs")

# Millions of parameters with 19 classes, measured on the authors' code; the classifier that is never computed is not
# among them.
MILLIONS = {"B0": "3.72", "B1": "13.68", "B2": "27.36", "B3": "47.24", "B4": "64.01", "B5": "84.61"}


def narrow(num_classes: int = 5) -> nn.Module:
    return mit_like.segformer(mit_like.AuthorsMiT(*mit_like.NARROW), num_classes, width=6)


def full(size: str, num_classes: int = 19) -> dict[str, Tensor]:
    with torch.device("meta"):
        encoder = mit_like.AuthorsMiT(*mit_like.MIT[size])
        return mit_like.segformer(encoder, num_classes, width=256 if size in ("B0", "B1") else 768).state_dict()


def test_the_same_answer_and_the_same_file_back(tmp_path: Path) -> None:
    theirs = randomise(narrow())
    path = tmp_path / "segformer.pth"
    torch.save({"meta": {"CLASSES": ("road",)}, "state_dict": theirs.state_dict()}, path)
    opened = open_foreign(path)
    assert opened.foreign.family == "nvlabs"
    assert opened.foreign.title == "NVlabs SegFormer, MiT of 8-16-40-64 channels"
    assert opened.foreign.dropped == ("decode_head.conv_seg.weight", "decode_head.conv_seg.bias")
    for size in ((129, 257), (96, 160)):
        images = 0.1 * torch.randn(1, 3, *size)
        with torch.inference_mode():
            answer, expected = opened.segmentor(images).logits, theirs(images)
        assert answer.shape == expected.shape
        assert (answer - expected).abs().max() <= 1e-4 * expected.abs().max()

    back = nvlabs.write(opened.segmentor.state_dict(), opened.foreign.model)
    wanted = {name: t for name, t in theirs.state_dict().items() if "conv_seg" not in name}
    assert back.keys() == wanted.keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in wanted.items())


def test_epsilons_are_the_authors(tmp_path: Path) -> None:
    """So faint an image that they are felt: with those of the port to transformers the answer is another."""
    theirs = randomise(narrow())
    foreign = recognise(theirs.state_dict(), source="net.pth")
    images = 1e-3 * torch.randn(1, 3, 64, 96, dtype=torch.float64)
    answers = {}
    for variant in ("nv", "hf"):
        backbone = Choice(name="mit", options={**foreign.model.backbone.options, "variant": variant})
        network = build_segmentor(foreign.model.model_copy(update={"backbone": backbone}), num_classes=5)
        network.load_state_dict(foreign.tensors)
        answers[variant] = network.eval().double()(images).logits
    expected = theirs.double()(images)
    assert (answers["nv"] - expected).abs().max() <= 1e-9 * expected.abs().max()
    assert (answers["hf"] - expected).abs().max() > 1e-6 * expected.abs().max()


@pytest.mark.parametrize("size", mit_like.MIT)
def test_every_tensor_of_the_published_sizes_has_its_place(size: str) -> None:
    state = full(size)
    foreign = recognise(state, source="net.pth")
    assert (foreign.title, foreign.num_classes) == (f"NVlabs SegFormer, MiT-{size}", 19)
    with torch.device("meta"):
        ours = build_segmentor(foreign.model, num_classes=19)
    report = match(ours, foreign.tensors, source="net.pth", dropped=foreign.dropped)
    assert report.faults == [] and len(report.dropped) == 2
    assert report.matched == len(state) - 2 == len(ours.state_dict())
    assert f"{sum(p.numel() for p in ours.parameters()) / 1e6:.2f}" == MILLIONS[size]
    assert nvlabs.write(ours.state_dict(), foreign.model).keys() == state.keys() - set(foreign.dropped)


def test_is_of_this_family_alone() -> None:
    for state in (full("B0"), narrow().state_dict()):
        assert [name for name in families.registered() if families.get(name).detect(state)] == ["nvlabs"]


def test_conventions_and_protocols_are_those_of_the_registered_files() -> None:
    model = recognise(full("B2"), source="net.pth").model
    assert model == ModelSpec(
        backbone={"name": "mit", "size": "b2"}, decoder={"name": "segformer", "channels": 768}, align_corners=False
    )
    assert model.input.channels == "rgb" and model.input.mean == (0.485, 0.456, 0.406)
    # those of transformers have the authors' weights; of B0 some were trained on other crops, which the title says
    found = 0
    for file in registered("huggingface", "SegFormer"):
        size = file.network.removeprefix("SegFormer, MiT-")
        if file.evaluation is not None and size in mit_like.MIT:
            foreign = recognise(full(size, file.num_classes), source="net.pth")
            assert foreign.title == f"NVlabs {file.network}"
            assert EvaluationSpec.model_validate({"data": file.evaluation.data, **foreign.protocol}) == file.evaluation
            found += 1
    assert found >= 9
    other = recognise(full("B0", 7), source="net.pth")
    assert other.protocol == {"mode": "whole", "enlarge": "twice"} and other.notes == ()


def test_what_tensors_cannot_tell_is_said() -> None:
    crops = recognise(full("B0"), source="net.pth").notes
    assert "1024x1024" in crops[0] and "512x1024" in crops[1]
    guessed = recognise(narrow().state_dict(), source="net.pth").notes
    assert len(guessed) == 1 and "1, 2, 5 and 8 in the four stages" in guessed[0]


def test_heads_that_cannot_be_concluded_are_refused() -> None:
    with torch.device("meta"):
        state = mit_like.segformer(mit_like.AuthorsMiT((8, 20, 40, 64), (1, 1, 1, 1)), 5).state_dict()
    with pytest.raises(InvalidFault, match=r"8-20-40-64 channels.*how many attention heads"):
        recognise(state, source="net.pth")


@pytest.mark.parametrize("what", ["decode_head.linear_pred.weight", "backbone.patch_embed3.proj.weight"])
def test_a_decisive_tensor_that_is_missing_is_named(what: str) -> None:
    state = {name: tensor for name, tensor in full("B0").items() if name != what}
    with pytest.raises(InvalidFault, match=f"laid out as nvlabs, but is incomplete: .*{re.escape(what)}"):
        recognise(state, source="net.pth")


def test_a_tensor_more_or_less_is_named(tmp_path: Path) -> None:
    path = tmp_path / "segformer.pth"
    state = narrow().state_dict()
    torch.save({name: tensor for name, tensor in state.items() if "block2.1.attn.sr" not in name}, path)
    with pytest.raises(InvalidFault, match=r"2 missing tensors, e\.g\. backbone\.block2\.1\.attn"):
        open_foreign(path)
    torch.save({**state, "decode_head.linear_c5.proj.weight": torch.ones(6, 6)}, path)
    with pytest.raises(InvalidFault, match=r"1 unexpected tensor, e\.g\. decode_head\.linear_c5"):
        open_foreign(path)


@pytest.mark.parametrize(
    ("backbone", "decoder", "said"),
    [
        ({"variant": "hf"}, {}, r"NVlabs has backbone\.variant 'nv' where this network has 'hf'"),
        ({"strides": (4, 2, 2, 1)}, {}, r"NVlabs has backbone\.strides"),
        ({}, {"variant": "mmseg"}, r"decoder\.variant 'nv' where this network has 'mmseg'"),
        ({}, {"bn_eps": 1e-3}, r"decoder\.bn_eps"),
        ({"name": "resnet"}, {}, "NVlabs has no segformer on resnet"),
    ],
)
def test_what_it_would_compute_otherwise_is_not_written(
    backbone: dict[str, object], decoder: dict[str, object], said: str
) -> None:
    model = ModelSpec.model_validate({
        "backbone": {"name": "mit", **backbone}, "decoder": {"name": "segformer", **decoder},
    })  # fmt: skip
    with torch.device("meta"):
        state = build_segmentor(model, num_classes=3).state_dict()
    with pytest.raises(InvalidFault, match=said):
        nvlabs.write(state, model)


def test_a_size_may_be_named_or_spelled_out_when_writing() -> None:
    widths, depths = mit_like.MIT["B1"]
    shape = {"widths": widths, "depths": depths, "heads": mit_like.HEADS}
    model = ModelSpec(
        backbone=Choice(name="mit", options={**shape, "drop_path": 0.0}),
        decoder=Choice(name="segformer", options={"dropout": 0.0}),
    )
    with torch.device("meta"):
        state = build_segmentor(model, num_classes=19).state_dict()
    assert nvlabs.write(state, model).keys() == {name for name in full("B1") if "conv_seg" not in name}
