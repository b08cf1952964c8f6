"""UPerNet of Swin's authors, generated from its definition: read, computed, counted, written back."""

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
from segbench.core.spec import EvaluationSpec, ModelSpec
from segbench.models.segmentor import build_segmentor
from tests.checkpoints.families import upernet_like as swin_like
from tests.checkpoints.families.registered import registered
from tests.models.random_weights import randomise

swin: Any = families.get("swin")

SHAPE: tuple[int, swin_like.Four, swin_like.Four] = (6, (2, 2, 2, 1), (1, 2, 3, 4))
INDEX = "relative_position_index"


def narrow(*, window: int = 7, aux: int | None = 4, layer: int = 2) -> nn.Module:
    return swin_like.upernet(swin_like.AuthorsSwin(*SHAPE, window=window), 5, width=8, aux=aux, layer=layer)


def full(size: str, num_classes: int = 150, *, window: int = 7) -> dict[str, Tensor]:
    with torch.device("meta"):
        return swin_like.upernet(swin_like.AuthorsSwin(*swin_like.SWIN[size], window=window), num_classes).state_dict()


@pytest.mark.parametrize("window", [7, 4])
def test_the_same_answer_and_the_same_file_back(window: int, tmp_path: Path) -> None:
    theirs = randomise(narrow(window=window))
    path = tmp_path / "upernet.pth"
    torch.save({"meta": {"CLASSES": ("wall",)}, "state_dict": theirs.state_dict()}, path)
    opened = open_foreign(path)
    assert opened.foreign.family == "swin"
    windows = "" if window == 7 else ", windows of 4x4"
    assert opened.foreign.title == f"Swin Transformer UPerNet, Swin of 6 channels in the first stage{windows}"
    assert all(name.endswith(INDEX) for name in opened.foreign.dropped) and len(opened.foreign.dropped) == 7
    for size in ((129, 257), (96, 160)):
        images = torch.randn(1, 3, *size)
        with torch.inference_mode():
            answer, expected = opened.segmentor(images).logits, theirs(images)
        assert answer.shape == expected.shape
        assert (answer - expected).abs().max() <= 1e-4 * expected.abs().max()

    back = swin.write(opened.segmentor.state_dict(), opened.foreign.model)
    wanted = theirs.state_dict()
    assert back.keys() == wanted.keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in wanted.items())


@pytest.mark.parametrize("layer", [2, 3])
def test_the_auxiliary_classifier_reads_the_same_layer(layer: int) -> None:
    theirs = randomise(narrow(layer=layer))
    foreign = recognise(theirs.state_dict(), source="net.pth")
    ours = build_segmentor(foreign.model, num_classes=5)
    ours.load_state_dict(foreign.tensors)
    for module in ours.train().modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
        if hasattr(module, "probability"):
            module.probability = 0.0
        if isinstance(module, nn.Dropout2d):
            module.p = 0.0
    images = torch.randn(1, 3, 65, 97)
    with torch.no_grad():
        aux, expected = ours(images).aux["aux"], theirs.auxiliary_head(theirs.backbone(images))  # type: ignore[operator]
    assert (aux - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_a_file_without_an_auxiliary_classifier(tmp_path: Path) -> None:
    path = tmp_path / "upernet.pth"
    state = narrow(aux=None).state_dict()
    torch.save(state, path)
    opened = open_foreign(path)
    assert opened.foreign.model.decoder.options["auxiliary"] is False
    assert swin.write(opened.segmentor.state_dict(), opened.foreign.model).keys() == state.keys()


@pytest.mark.parametrize(
    ("size", "window", "title", "millions"),
    [
        ("T", 7, "UPerNet, Swin-T", "59.942"),  # the authors print 60M
        ("S", 7, "UPerNet, Swin-S", None),
        ("B", 7, "UPerNet, Swin-B", None),
        ("B", 12, "UPerNet, Swin-B, windows of 12x12", None),
        ("L", 12, "UPerNet, Swin-L, windows of 12x12", None),
    ],
)
def test_every_tensor_of_the_sizes_has_its_place(size: str, window: int, title: str, millions: str | None) -> None:
    state = full(size, window=window)
    foreign = recognise(state, source="net.pth")
    assert (foreign.title, foreign.num_classes) == (f"Swin Transformer {title}", 150)
    with torch.device("meta"):
        ours = build_segmentor(foreign.model, num_classes=150)
    report = match(ours, foreign.tensors, source="net.pth", dropped=foreign.dropped)
    assert report.faults == [] and len(report.dropped) == sum(swin_like.SWIN[size][1])
    assert report.matched == len(state) - len(report.dropped) == len(ours.state_dict())
    if millions is not None:
        assert f"{sum(p.numel() for p in ours.parameters()) / 1e6:.3f}" == millions
    written = swin.write(ours.state_dict(), foreign.model)
    assert {name: tensor.shape for name, tensor in written.items()} == {name: t.shape for name, t in state.items()}


def test_is_of_this_family_alone() -> None:
    for state in (full("T"), narrow(aux=None).state_dict()):
        assert [name for name in families.registered() if families.get(name).detect(state)] == ["swin"]


def test_conventions_and_protocols_are_those_of_the_registered_files() -> None:
    (file,) = registered("swin", "UPerNet")
    foreign = recognise(full("T", file.num_classes), source="net.pth")
    assert foreign.title == f"Swin Transformer {file.network}"
    assert foreign.model == ModelSpec(backbone={"name": "swin"}, decoder={"name": "upernet"}, align_corners=False)
    assert foreign.model.input.channels == "rgb" and foreign.model.input.std == (0.229, 0.224, 0.225)
    assert file.evaluation is not None
    assert EvaluationSpec.model_validate({"data": file.evaluation.data, **foreign.protocol}) == file.evaluation
    assert "2048" in foreign.notes[0]
    other = recognise(full("T", 19), source="net.pth")
    assert other.protocol == {"mode": "whole", "enlarge": "twice"} and other.notes == ()


def changed(pattern: str, becomes: str | None) -> dict[str, Tensor]:
    """The narrow network's tensors, some renamed or left out."""
    state = narrow().state_dict()
    if becomes is None:
        return {name: tensor for name, tensor in state.items() if not re.search(pattern, name)}
    return {re.sub(pattern, becomes, name): tensor for name, tensor in state.items()}


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (changed(r"fpn_bottleneck", "sep_bottleneck"), "head on its Swin Transformer is not UPerNet"),
        (changed(r"psp_modules\.3", None), "pools to 3 grids"),
        (changed(r"decode_head\.conv_seg", None), r"is incomplete: 'decode_head\.conv_seg\.weight' is missing"),
        (changed(r"backbone\.layers\.2\.", None), r"is incomplete: .*backbone\.layers\.2\.blocks"),
        (changed(r"layers\.1\.downsample\.norm", None), r"2 missing tensors, e\.g\. backbone"),
        (changed(r"auxiliary_head\.convs\.0\.bn", "auxiliary_head.convs.1.bn"), r"4 unexpected tensors"),
        ({**narrow().state_dict(), "backbone.absolute_pos_embed": torch.ones(1, 6, 8, 8)}, r"e\.g\. backbone\.abs"),
        (
            {name: t[:-1] if "bias_table" in name else t for name, t in narrow().state_dict().items()},
            "position biases are 168, of no square window",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_the_reason(state: dict[str, Tensor], said: str, tmp_path: Path) -> None:
    path = tmp_path / "upernet.pth"
    torch.save(state, path)
    with pytest.raises(InvalidFault, match=said):
        open_foreign(path)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"backbone": "swin", "decoder": {"name": "upernet", "bins": (1, 2, 4, 8)}}, r"decoder\.bins"),
        ({"backbone": "swin", "decoder": {"name": "upernet", "bins": (1, 2)}}, "pools to 2 grids"),
        ({"backbone": "swin", "decoder": {"name": "upernet", "bn_eps": 1e-3}}, r"decoder\.bn_eps"),
        ({"backbone": "mit", "decoder": "upernet"}, "no upernet on mit"),
    ],
)
def test_what_it_would_compute_otherwise_is_not_written(model: dict[str, Any], said: str) -> None:
    spec = ModelSpec.model_validate(model)
    with torch.device("meta"):
        state = build_segmentor(spec, num_classes=3).state_dict()
    with pytest.raises(InvalidFault, match=said):
        swin.write(state, spec)


def test_what_only_training_or_a_configuration_says_does_not_hinder_writing() -> None:
    embed, depths, heads = swin_like.SWIN["S"]
    spec = ModelSpec.model_validate({
        "backbone": {"name": "swin", "embed": embed, "depths": depths, "heads": heads, "drop_path": 0.1},
        "decoder": {"name": "upernet", "contrast_layers": "fpn", "aux_dropout": 0.0},
        "align_corners": True,
    })  # fmt: skip
    with torch.device("meta"):
        state = build_segmentor(spec, num_classes=150).state_dict()
    assert swin.write(state, spec).keys() == full("S").keys()
