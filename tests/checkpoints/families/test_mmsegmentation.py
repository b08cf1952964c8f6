"""MMSegmentation's layouts, generated from their definitions: read, computed, counted, written back."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from segbench.checkpoints import families
from segbench.checkpoints.families.mmsegmentation.backbones import is_supported
from segbench.checkpoints.loading import match
from segbench.checkpoints.open import open_foreign
from segbench.checkpoints.recognise import recognise
from segbench.core.errors import InvalidFault
from segbench.core.spec import Choice, ModelSpec
from segbench.models.segmentor import build_segmentor
from tests.checkpoints.families import mmseg_like as mm
from tests.models.random_weights import randomise

mmsegmentation: Any = families.get("mmsegmentation")

Build = Callable[[], nn.Module]


def narrow(*, deep: bool = True) -> mm.ResNet:
    return mm.ResNet((1, 2, 2, 1), width=8, deep=deep)


NARROW: dict[str, tuple[Build, str]] = {
    "pspnet": (lambda: mm.pspnet(narrow(), 5, channels=12, aux=6), "PSPNet, ResNet-20 v1c"),
    "pspnet-v1b": (lambda: mm.pspnet(mm.ResNet((1, 1, 1, 1), deep=False), 5, channels=12), "PSPNet, ResNet-14 v1b"),
    "deeplabv3": (lambda: mm.deeplabv3(narrow(), 5, channels=12, aux=6), "DeepLabV3, ResNet-20 v1c"),
    "deeplabv3plus": (
        lambda: mm.deeplabv3plus(narrow(), 5, channels=12, aux=6, low=4), "DeepLabV3+, ResNet-20 v1c",
    ),
    "deeplabv3-mobilenet": (lambda: mm.deeplabv3(mm.MobileNetV2(), 5, channels=12), "DeepLabV3, MobileNetV2"),
    "deeplabv3plus-mobilenet": (
        lambda: mm.deeplabv3plus(mm.MobileNetV2(), 5, channels=12), "DeepLabV3+, MobileNetV2",
    ),
    "ocrnet": (lambda: mm.ocrnet(narrow(), 5, channels=12, key=6, aux=10), "OCRNet, ResNet-20 v1c"),
    "fcn-hr18s": (lambda: mm.fcn_hrnet(mm.hrnet("hrnet_w18_small_v2"), 5), "FCN-HRNet, HRNetV2-W18-small"),
    "ocrnet-hr18s": (
        lambda: mm.ocrnet_hrnet(mm.hrnet("hrnet_w18_small_v2"), 5, channels=12, key=6),
        "OCRNet, HRNetV2-W18-small",
    ),
}  # fmt: skip
# Of each the millions of parameters that the dossier gives, and where it has the number to the last digit that.
FULL: dict[str, tuple[Build, str, str | None]] = {
    "pspnet_r101": (lambda: mm.pspnet(mm.ResNet(mm.DEPTHS[101]), 19), "PSPNet, ResNet-101 v1c", "67.97"),
    "pspnet_r50-ade": (lambda: mm.pspnet(mm.ResNet(mm.DEPTHS[50]), 150), "PSPNet, ResNet-50 v1c", None),
    "deeplabv3_r101": (lambda: mm.deeplabv3(mm.ResNet(mm.DEPTHS[101]), 19), "DeepLabV3, ResNet-101 v1c", "87.105"),
    "deeplabv3_r50": (lambda: mm.deeplabv3(mm.ResNet(mm.DEPTHS[50]), 19), "DeepLabV3, ResNet-50 v1c", "68.113"),
    "deeplabv3plus_r101": (
        lambda: mm.deeplabv3plus(mm.ResNet(mm.DEPTHS[101]), 19), "DeepLabV3+, ResNet-101 v1c", "62.58",
    ),
    "deeplabv3plus_r50": (
        lambda: mm.deeplabv3plus(mm.ResNet(mm.DEPTHS[50]), 19), "DeepLabV3+, ResNet-50 v1c", "43.59",
    ),
    "deeplabv3plus_r50b": (
        lambda: mm.deeplabv3plus(mm.ResNet(mm.DEPTHS[50], deep=False), 19), "DeepLabV3+, ResNet-50 v1b", None,
    ),
    "deeplabv3_m-v2": (lambda: mm.deeplabv3(mm.MobileNetV2(), 19), "DeepLabV3, MobileNetV2", "18.602"),
    "fcn_hr48": (lambda: mm.fcn_hrnet(mm.hrnet("hrnet_w48"), 19), "FCN-HRNet, HRNetV2-W48", "65.86"),
    "fcn_hr18": (lambda: mm.fcn_hrnet(mm.hrnet("hrnet_w18"), 19), "FCN-HRNet, HRNetV2-W18", None),
    "ocrnet_hr48": (lambda: mm.ocrnet_hrnet(mm.hrnet("hrnet_w48"), 19), "OCRNet, HRNetV2-W48", "70.371"),
    "ocrnet_r101": (lambda: mm.ocrnet(mm.ResNet(mm.DEPTHS[101]), 19), "OCRNet, ResNet-101 v1c", "55.516"),
}  # fmt: skip


def on_meta(build: Build) -> dict[str, Tensor]:
    with torch.device("meta"):
        return build().state_dict()


@pytest.mark.parametrize("name", NARROW)
def test_the_same_answer_and_the_same_file_back(name: str, tmp_path: Path) -> None:
    build, label = NARROW[name]
    theirs = randomise(build())
    path = tmp_path / "net.pth"
    torch.save({"meta": {"CLASSES": ("road",), "mmseg_version": "0.11"}, "state_dict": theirs.state_dict()}, path)
    opened = open_foreign(path)
    assert opened.foreign.title == f"MMSegmentation {label}" and opened.foreign.dropped == ()
    ours = opened.segmentor
    for size in [(96, 160), (129, 257)]:
        images = torch.randn(1, 3, *size)
        with torch.inference_mode():
            answer, expected = ours(images).logits, theirs(images)
        assert answer.shape == expected.shape
        assert (answer - expected).abs().max() <= 1e-4 * expected.abs().max()

    back = mmsegmentation.write(ours.state_dict(), opened.foreign.model)
    wanted = theirs.state_dict()
    assert back.keys() == wanted.keys()
    assert all(torch.equal(back[key], tensor) for key, tensor in wanted.items())


def test_the_auxiliary_classifier_reads_the_same_layer() -> None:
    theirs = randomise(NARROW["pspnet"][0]())
    foreign = recognise(theirs.state_dict(), source="net.pth")
    ours = build_segmentor(foreign.model, num_classes=5)
    ours.load_state_dict(foreign.tensors)
    for each in (ours, theirs):
        each.train()
        for module in each.modules():
            if isinstance(module, nn.Dropout2d):
                module.p = 0.0
    images = torch.randn(2, 3, 65, 97)
    with torch.no_grad():
        aux, expected = ours(images).aux["aux"], theirs.auxiliary_head(theirs.backbone(images))  # type: ignore[operator]
    assert (aux - expected).abs().max() <= 1e-4 * expected.abs().max()


@pytest.mark.parametrize("name", FULL)
def test_every_tensor_of_the_full_networks_has_its_place(name: str) -> None:
    build, label, millions = FULL[name]
    state = on_meta(build)
    foreign = recognise(state, source="net.pth")
    assert foreign.family == "mmsegmentation" and foreign.title == f"MMSegmentation {label}"
    assert foreign.num_classes == (150 if name.endswith("-ade") else 19)
    with torch.device("meta"):
        ours = build_segmentor(foreign.model, num_classes=foreign.num_classes)
    report = match(ours, foreign.tensors, source="net.pth")
    assert report.faults == [] and report.dropped == ()
    assert report.matched == len(state) == len(ours.state_dict())
    if millions is not None:
        digits = len(millions.partition(".")[2])
        assert f"{sum(p.numel() for p in ours.parameters()) / 1e6:.{digits}f}" == millions
    assert mmsegmentation.write(ours.state_dict(), foreign.model).keys() == state.keys()


def test_conventions() -> None:
    for name in ("pspnet_r101", "fcn_hr48"):
        foreign = recognise(on_meta(FULL[name][0]), source="net.pth")
        model = foreign.model
        assert model.align_corners is False and model.input.channels == "rgb"
        assert model.input.mean == pytest.approx([each / 255 for each in (123.675, 116.28, 103.53)], rel=1e-12)
        assert model.input.std == pytest.approx([each / 255 for each in (58.395, 57.12, 57.375)], rel=1e-12)
        assert foreign.protocol == {"mode": "whole", "enlarge": "twice"}
        assert ("769x769" in foreign.notes[-1]) == (name == "pspnet_r101"), "what the tensors cannot tell"


def test_an_auxiliary_classifier_without_a_place_is_dropped_and_listed() -> None:
    def build() -> nn.Module:
        network = mm.fcn_hrnet(mm.hrnet("hrnet_w18_small_v2"), 5)
        return mm.Network(network.backbone, network.decode_head, mm.FCN(72, 16, 5))

    state = on_meta(build)
    foreign = recognise(state, source="net.pth")
    assert set(foreign.dropped) == {name for name in state if name.startswith("auxiliary_head.")} != set()
    with torch.device("meta"):
        ours = build_segmentor(foreign.model, num_classes=5)
    report = match(ours, foreign.tensors, source="net.pth", dropped=foreign.dropped)
    assert report.faults == [] and report.dropped == foreign.dropped


def test_a_head_of_two_auxiliary_convolutions_is_not_taken_for_one_of_one() -> None:
    state = on_meta(NARROW["pspnet"][0])
    more = {name.replace("convs.0", "convs.1"): t for name, t in state.items() if "auxiliary_head.convs" in name}
    foreign = recognise({**state, **more}, source="net.pth")
    with torch.device("meta"):
        ours = build_segmentor(foreign.model, num_classes=5)
    assert set(match(ours, foreign.tensors, source="net.pth").unexpected) == {
        name for name in more if not name.endswith("num_batches_tracked")
    }


def fcn_resnet() -> nn.Module:
    backbone = narrow()
    head = mm.FCN(backbone.channels[-1], 12, 5, layer=3)
    head.conv_cat = mm.Unit(backbone.channels[-1] + 12, 12, 3)
    return mm.Network(backbone, head)


def renamed(build: Build, *pairs: tuple[str, str]) -> dict[str, Tensor]:
    state = on_meta(build)
    for old, new in pairs:
        state = {name.replace(old, new): tensor for name, tensor in state.items()}
    return state


REFUSED = {
    "FCN on ResNet": (lambda: on_meta(fcn_resnet), "^It is FCN on ResNet; of MMSegmentation's .* FCN on HRNet"),
    "UPerNet on ResNet": (
        lambda: {**on_meta(NARROW["pspnet"][0]), "decode_head.lateral_convs.0.conv.weight": torch.ones(1)},
        "^It is UPerNet on ResNet; of MMSegmentation's .* UPerNet on Swin",
    ),
    "a head of nobody's": (
        lambda: renamed(NARROW["pspnet"][0], ("psp_modules", "other_modules")),
        r"^It is a head with decode_head\.other_modules\.\S+ on ResNet; of MMSegmentation's networks",
    ),
    "ResNet-18": (
        lambda: {n: t for n, t in on_meta(NARROW["pspnet"][0]).items() if ".conv3." not in n and ".bn3." not in n},
        "as ResNet-18 and 34",
    ),
    "another stem": (
        lambda: {**on_meta(NARROW["pspnet"][0]), "backbone.stem.0.weight": torch.ones(8, 3, 3, 3)}, "a wider stem",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_networks_that_segbench_has_not_are_refused_with_the_reason(what: str) -> None:
    state, said = REFUSED[what]
    with pytest.raises(InvalidFault, match=said):
        recognise(state(), source="net.pth")


def test_a_missing_classifier_is_named() -> None:
    state = {name: t for name, t in on_meta(NARROW["deeplabv3"][0]).items() if "decode_head.conv_seg" not in name}
    with pytest.raises(InvalidFault, match=r"incomplete: .*decode_head\.conv_seg\.weight"):
        recognise(state, source="net.pth")


@pytest.mark.parametrize(
    "names",
    [
        ("backbone.layers.0.0.projection.weight", "decode_head.convs.3.conv.weight", "decode_head.conv_seg.weight"),
        ("backbone.stages.0.blocks.0.attn.w_msa.qkv.weight", "decode_head.fpn_bottleneck.conv.weight"),
        ("backbone.layers.0.blocks.0.attn.qkv.weight", "decode_head.fpn_bottleneck.conv.weight"),
        ("backbone.patch_embed1.proj.weight", "decode_head.linear_fuse.conv.weight"),
    ],
    ids=["SegFormer", "Swin", "the Swin project's", "the SegFormer project's"],
)
def test_transformers_are_not_taken_for_one_of_these(names: tuple[str, ...]) -> None:
    assert not is_supported({name: torch.ones(1, 1) for name in names})


def test_networks_converted_for_transformers_are_not_claimed() -> None:
    state = renamed(NARROW["pspnet"][0], ("conv_seg", "classifier"), (".bn.", ".batch_norm."))
    assert not mmsegmentation.detect(state)


def resnet(**options: object) -> Choice:
    return Choice(name="resnet", options={"stem": "deep-narrow", "output_stride": 8, "depth": 50, **options})


PLAIN = ModelSpec(backbone=resnet(frozen_norm=True), decoder=Choice(name="pspnet"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"backbone": resnet(dilation="full")}, r"backbone\.dilation 'contracted'"),
        ({"backbone": resnet(ceil_mode=True)}, r"backbone\.ceil_mode False"),
        ({"backbone": resnet(stem="deep")}, r"backbone\.stem 'conv7x7'"),
        ({"decoder": Choice(name="pspnet", options={"bins": [1, 2, 3, 4]})}, r"decoder\.bins"),
        ({"decoder": Choice(name="pspnet", options={"bins": [1, 2, 3, 4, 6]})}, "no module for 6 tensors"),
        ({"decoder": Choice(name="deeplabv2")}, "no deeplabv2 on resnet"),
    ],
)
def test_what_it_would_compute_otherwise_is_not_written(change: dict[str, object], said: str) -> None:
    other = PLAIN.model_copy(update=change)
    with torch.device("meta"):
        state = build_segmentor(other, num_classes=5).state_dict()
    with pytest.raises(InvalidFault, match=said):
        mmsegmentation.write(state, other)


@pytest.mark.parametrize(
    "model",
    [
        PLAIN,
        PLAIN.model_copy(update={"align_corners": True}),
        ModelSpec(
            backbone=Choice(name="hrnetv2"),
            decoder=Choice(
                name="ocr",
                options={"aux_head": "conv1x1", "aux_channels": 720, "conv_bias": False, "attention_bias": False},
            ),
        ),
    ],
)
def test_what_only_training_or_a_configuration_says_does_not_hinder_writing(model: ModelSpec) -> None:
    with torch.device("meta"):
        state = build_segmentor(model, num_classes=5).state_dict()
    written = mmsegmentation.write(state, model)
    assert len(written) == len(state) and mmsegmentation.detect(written)
