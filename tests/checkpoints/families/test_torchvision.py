"""torchvision's own networks, saved, read, and written back."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.resnet import Bottleneck, ResNet
from torchvision.models.segmentation.deeplabv3 import DeepLabHead, DeepLabV3
from torchvision.models.segmentation.fcn import FCNHead

from segbench.checkpoints import families
from segbench.checkpoints.loading import match
from segbench.checkpoints.open import open_foreign
from segbench.checkpoints.recognise import recognise
from segbench.core.errors import InvalidFault
from segbench.core.spec import Choice, ModelSpec
from segbench.models.segmentor import build_segmentor
from tests.models.random_weights import randomise

torchvision_family: Any = families.get("torchvision")
SIZES = ((129, 257), (96, 160))
R50, R101, MOBILE = "deeplabv3_resnet50", "deeplabv3_resnet101", "deeplabv3_mobilenet_v3_large"


def network(name: str, *, aux: bool, num_classes: int = 21) -> nn.Module:
    build = getattr(torchvision.models.segmentation, name)
    found: nn.Module = build(weights=None, weights_backbone=None, aux_loss=aux, num_classes=num_classes)
    return found


def on_meta(name: str, *, aux: bool, num_classes: int = 21) -> dict[str, Tensor]:
    with torch.device("meta"):
        return network(name, aux=aux, num_classes=num_classes).state_dict()


def relative(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).abs().max() / theirs.abs().max())


@pytest.mark.parametrize(
    ("name", "aux"),
    [
        (MOBILE, True),
        (MOBILE, False),
        (R50, True),
        pytest.param(R50, False, marks=pytest.mark.slow),
        pytest.param(R101, True, marks=pytest.mark.slow),
        pytest.param(R101, False, marks=pytest.mark.slow),
    ],
)
def test_the_same_answer_and_the_same_file_back(name: str, aux: bool, tmp_path: Path) -> None:
    theirs = randomise(network(name, aux=aux))
    path = tmp_path / "net.pth"
    torch.save(theirs.state_dict(), path)
    opened = open_foreign(path)
    path.unlink()
    ours = opened.segmentor
    wanted = theirs.state_dict()
    homeless = {key for key in wanted if key.startswith("aux_classifier.") and name == MOBILE}
    assert opened.foreign.family == "torchvision" and set(opened.report.dropped) == homeless
    assert any("auxiliary" in note for note in opened.foreign.notes) == bool(homeless)
    for size in SIZES:
        images = torch.randn(1, 3, *size)
        with torch.inference_mode():
            answer = ours.resize(ours(images).logits, size)
            assert relative(answer, theirs(images)["out"]) <= 1e-4

    back = torchvision_family.write(ours.state_dict(), opened.foreign.model)
    assert list(back) == [key for key in wanted if key not in homeless]
    assert all(torch.equal(tensor, wanted[key]) and tensor.dtype == wanted[key].dtype for key, tensor in back.items())


def test_the_auxiliary_classifier_of_resnet_reads_the_same_layer() -> None:
    """In training, where alone segbench computes it; batch statistics are then those of the images, dropout is off."""
    backbone = ResNet(Bottleneck, [1, 1, 1, 1], replace_stride_with_dilation=[False, True, True])
    layers = IntermediateLayerGetter(backbone, {"layer4": "out", "layer3": "aux"})
    theirs = randomise(DeepLabV3(layers, DeepLabHead(2048, 21), FCNHead(1024, 21)))
    foreign = recognise(theirs.state_dict(), source="net.pth")
    ours = build_segmentor(foreign.model, num_classes=21)
    ours.load_state_dict(foreign.tensors)
    for each in (theirs, ours):
        each.train()
        for module in each.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
    images = torch.randn(2, 3, 65, 97)
    with torch.no_grad():
        aux, expected = ours(images).aux["aux"], theirs(images)["aux"]
    assert relative(ours.resize(aux, (65, 97)), expected) <= 1e-4


@pytest.mark.parametrize(
    ("name", "aux", "parameters", "label"),
    [
        (R101, True, "60,996,202", "DeepLabV3, ResNet-101"),
        (R50, True, "42,004,074", "DeepLabV3, ResNet-50"),
        (MOBILE, True, "11,029,328", "DeepLabV3, MobileNetV3-Large"),
        (R101, False, None, "DeepLabV3, ResNet-101"),
        (R50, False, None, "DeepLabV3, ResNet-50"),
    ],
)
def test_every_tensor_of_the_full_networks_has_its_place(
    name: str, aux: bool, parameters: str | None, label: str
) -> None:
    state = on_meta(name, aux=aux)
    foreign = recognise(state, source="net.pth")
    assert foreign.title == f"torchvision {label}"
    with torch.device("meta"):
        ours = build_segmentor(foreign.model, num_classes=foreign.num_classes)
    report = match(ours, foreign.tensors, source="net.pth", dropped=foreign.dropped)
    assert report.faults == [] and report.matched == len(ours.state_dict()) == len(state) - len(report.dropped)
    if parameters is not None:  # as torchvision publishes it
        left_out = sum(state[key].numel() for key in report.dropped if key.endswith(("weight", "bias")))
        assert f"{sum(p.numel() for p in ours.parameters()) + left_out:,}" == parameters
    assert list(torchvision_family.write(ours.state_dict(), foreign.model)) == [
        k for k in state if k not in report.dropped
    ]


def test_conventions() -> None:
    model = recognise(on_meta(R50, aux=False), source="net.pth").model
    assert model.align_corners is False and model.input.channels == "rgb"
    assert model.input.mean == (0.485, 0.456, 0.406) and model.input.std == (0.229, 0.224, 0.225)
    published = recognise(on_meta(MOBILE, aux=True), source="net.pth")
    assert published.protocol == {"mode": "whole", "short_side": 520} and "COCO" in published.notes[0]
    assert "auxiliary" in published.notes[1]
    own = recognise(on_meta(MOBILE, aux=False, num_classes=19), source="net.pth")
    assert own.num_classes == 19 and own.protocol == {"mode": "whole"} and own.notes == ()


@pytest.mark.parametrize(
    ("name", "said"),
    [("fcn_resnet50", "torchvision's FCN"), ("lraspp_mobilenet_v3_large", "torchvision's LR-ASPP")],
)
def test_other_networks_of_it_are_refused_by_name(name: str, said: str) -> None:
    with torch.device("meta"):
        build = getattr(torchvision.models.segmentation, name)
        state = build(weights=None, weights_backbone=None).state_dict()
    with pytest.raises(InvalidFault, match=said):
        recognise(state, source="net.pth")


def test_a_tensor_more_or_less_is_named(tmp_path: Path) -> None:
    state = network(MOBILE, aux=False).state_dict()
    missing = "backbone.4.block.2.fc1.weight"
    torch.save(
        {**{k: v for k, v in state.items() if k != missing}, "proj_head.weight": torch.ones(2)}, tmp_path / "x.pth"
    )
    with pytest.raises(InvalidFault) as caught:
        open_foreign(tmp_path / "x.pth")
    missed, extra = caught.value.faults
    assert "backbone.blocks.2.0.se.conv_reduce.weight" in missed and "proj_head.weight" in extra


def resnet(**options: object) -> Choice:
    return Choice(name="resnet", options={"depth": 50, "output_stride": 8, **options})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"backbone": resnet(ceil_mode=True)}, "ceil_mode"),
        ({"backbone": resnet(output_stride=16)}, "output_stride"),
        ({"decoder": Choice(name="deeplabv3", options={"refine": "conv3x3"})}, "refine"),
        ({"align_corners": True}, "align_corners"),
        ({"decoder": Choice(name="pspnet")}, "no pspnet on resnet"),
    ],
)
def test_what_torchvision_would_compute_otherwise_is_not_written(change: dict[str, object], said: str) -> None:
    decoder = {"refine": "conv3x3_relu", "dropout": 0.0, "init": "kaiming"}  # that of the training does not matter
    plain = ModelSpec(backbone=resnet(frozen_norm=True), decoder=Choice(name="deeplabv3", options=decoder))
    other = plain.model_copy(update=change)
    with torch.device("meta"):
        state, otherwise = (build_segmentor(each, num_classes=5).state_dict() for each in (plain, other))
    assert torchvision_family.detect(torchvision_family.write(state, plain))
    with pytest.raises(InvalidFault, match=said):
        torchvision_family.write(otherwise, other)
