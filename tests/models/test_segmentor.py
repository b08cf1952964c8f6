"""The contract of every registered backbone and decoder, the concatenating head, options and labels."""

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

from segbench.core import registry
from segbench.core.errors import InvalidFault, UsageFault
from segbench.core.spec import Choice, ModelSpec
from segbench.models.labels import model_label
from segbench.models.segmentor import Segmentor, build_segmentor
from tests.models.by_hand import Dilated

TINY = {
    "name": "hrnetv2",
    "width": 4,
    "modules": (1, 1, 1),
    "blocks_per_branch": 1,
    "stem_channels": 8,
    "stage1_blocks": 1,
    "stage1_width": 4,
}


# Variants that between them run every path through the decoders of dilated networks.
DECODERS: dict[str, dict[str, object]] = {
    "deeplabv2": {"name": "deeplabv2", "branches": "all"},
    "deeplabv3": {"name": "deeplabv3", "channels": 8, "refine": "conv3x3", "auxiliary": True},
    "deeplabv3plus": {"name": "deeplabv3plus", "channels": 8, "separable": True, "auxiliary": True, "init": "torch"},
    "pspnet": {"name": "pspnet", "channels": 8, "auxiliary": True},
    "ocr": {"name": "ocr", "channels": 8, "key_channels": 4},
    "ocr-stage3": {"name": "ocr", "channels": 8, "key_channels": 4, "aux_features": "stage3", "aux_channels": 6},
}


def _on_dilated(name: str, *, align_corners: bool = True) -> Segmentor:
    torch.manual_seed(0)
    backbone, choice = Dilated(), Choice.model_validate(DECODERS[name])
    decoder = registry.implementation("decoder", choice.name, "network").build(
        registry.options_of("decoder", choice.name)(**choice.options),
        backbone=backbone,
        num_classes=5,
        align_corners=align_corners,
    )
    return Segmentor(backbone, decoder, num_classes=5, align_corners=align_corners)


def _spec(*, align_corners: bool = True, **decoder: object) -> ModelSpec:
    return ModelSpec.model_validate(
        {"backbone": TINY, "decoder": {"name": "concat", **decoder}, "align_corners": align_corners}
    )


def _parameters(spec: ModelSpec, *, num_classes: int) -> int:
    with torch.device("meta"):
        network = build_segmentor(spec, num_classes=num_classes)
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("decoder", "parameters"),
    [
        ({"head": "conv3x3"}, 70_006_560),  # Contextrast Table 7: 70.01 M
        ({"head": "conv3x3", "relu": True, "dropout": 0.1}, 70_006_560),
        ({"head": "conv1x1"}, 65_859_379),  # official HRNet
        ({"head": "conv1x1", "conv_bias": False}, 65_858_659),  # mmsegmentation: 65.86 M
    ],
)
def test_parameters_of_published_networks(decoder: dict[str, object], parameters: int) -> None:
    spec = ModelSpec(backbone=Choice(name="hrnetv2"), decoder=Choice(name="concat", options=decoder))
    assert _parameters(spec, num_classes=19) == parameters


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("name", ["concat", "ocr", "upernet"])
def test_layers_that_a_decoder_joins_are_handed_on_in_training(name: str, align_corners: bool) -> None:
    options = {"concat": {}, "ocr": {"channels": 8, "key_channels": 4}, "upernet": {"channels": 8}}[name]
    if name == "upernet":
        options["contrast_layers"] = "fpn"
    spec = ModelSpec(
        backbone=Choice.model_validate(TINY),
        decoder=Choice.model_validate({"name": name, **options}),
        align_corners=align_corners,
    )
    network, images = build_segmentor(spec, num_classes=3).double(), torch.randn(2, 3, 64, 96).double()
    output = network.train()(images)
    size = output.layers[0].shape[-2:]
    slices = output.joined.split([layer.shape[1] for layer in output.layers], dim=1)
    for got, layer in zip(slices, output.layers, strict=True):
        assert torch.equal(got, F.interpolate(layer, size, mode="bilinear", align_corners=align_corners))
    assert network.eval()(images).joined is None  # there it would live for nobody


@pytest.mark.parametrize("name", ["ocr", "upernet"])
def test_a_decoder_hands_on_no_layers_but_those_of_the_output(name: str) -> None:
    """OCR of two layers joins nothing; what UPerNet joins are not the encoder's layers."""
    own = {"ocr": {"key_channels": 4, "aux_features": "stage3"}, "upernet": {}}[name]
    decoder = Choice.model_validate({"name": name, "channels": 8, **own})
    network = build_segmentor(ModelSpec(backbone=Choice.model_validate(TINY), decoder=decoder), num_classes=3)
    assert network.train()(torch.randn(2, 3, 64, 64)).joined is None


def test_projection_heads_bring_the_total_to_the_published_one() -> None:
    heads = sum(c * c + 2 * c + c * 256 + 256 for c in (48, 96, 192, 384))
    assert heads == 382_624
    assert 70_006_560 + heads == 70_389_184


def test_a_budget_can_shrink_the_network_to_one_and_a_half_million_parameters() -> None:
    small = {"modules": (1, 1, 1), "blocks_per_branch": 1, "stage1_blocks": 1, "stage1_width": 32, "stem_channels": 32}
    spec = ModelSpec(backbone=Choice(name="hrnetv2", options={"width": 16, **small}), decoder=Choice(name="concat"))
    assert 1.2e6 < _parameters(spec, num_classes=19) < 1.6e6


@pytest.mark.parametrize("head", ["conv3x3", "conv1x1"])
@pytest.mark.parametrize("size", [(32, 32), (45, 61)])
def test_output_contract(head: str, size: tuple[int, int]) -> None:
    network = build_segmentor(_spec(head=head), num_classes=5).eval()
    assert isinstance(network, Segmentor)
    output = network(torch.randn(2, 3, *size))
    fine = (-(-size[0] // 4), -(-size[1] // 4))
    assert output.logits.shape == (2, 5, *fine)
    assert output.embedding.shape == (2, network.embedding_channels, *fine)
    assert tuple(layer.shape[1] for layer in output.layers) == network.layer_channels
    assert output.aux == {}
    full = network.resize(output.logits.bfloat16(), size)
    assert full.shape == (2, 5, *size)
    assert full.dtype == torch.float32


@pytest.mark.parametrize("head", ["conv3x3", "conv1x1"])
@pytest.mark.parametrize("align_corners", [False, True])
def test_head_is_the_written_formula(head: str, align_corners: bool) -> None:
    """Upsample, concatenate, convolve, normalise, (rectify), classify, each step written out."""
    torch.manual_seed(0)
    network = build_segmentor(_spec(head=head, align_corners=align_corners), num_classes=3).eval()
    weights = dict(network.decoder.named_parameters())
    output = network(torch.randn(1, 3, 64, 96))
    size = output.layers[0].shape[-2:]
    x = torch.cat([F.interpolate(x, size=size, mode="bilinear", align_corners=align_corners) for x in output.layers], 1)
    x = F.conv2d(x, weights["conv.weight"], weights["conv.bias"], padding="same")
    x = x / (1 + 1e-5) ** 0.5  # fresh running statistics: mean 0, variance 1
    if head == "conv1x1":
        x = x.clamp(min=0)
    torch.testing.assert_close(output.embedding, x, rtol=1e-4, atol=1e-5)
    logits = torch.einsum("ck,nkhw->nchw", weights["classifier.weight"][..., 0, 0], output.embedding)
    if head == "conv1x1":
        logits = logits + weights["classifier.bias"][:, None, None]
    else:
        assert "classifier.bias" not in weights
    torch.testing.assert_close(output.logits, logits, rtol=1e-4, atol=1e-5)


def test_dropout_drops_whole_channels_and_only_in_training() -> None:
    network = build_segmentor(_spec(dropout=0.5), num_classes=3)
    images = torch.randn(2, 3, 64, 64)
    dropped = (network.train()(images).embedding == 0).flatten(2)
    assert torch.equal(dropped.all(-1), dropped.any(-1))
    assert 0 < dropped.all(-1).float().mean() < 1
    assert not (network.eval()(images).embedding == 0).any()


def test_training_step_reaches_every_parameter_under_autocast() -> None:
    network = build_segmentor(_spec(), num_classes=3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = network(torch.randn(2, 3, 45, 61))
    F.cross_entropy(network.resize(output.logits, (45, 61)), torch.zeros(2, 45, 61, dtype=torch.long)).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("size", [(32, 32), (45, 61), (129, 257)])
def test_decoders_of_dilated_networks_take_any_size(name: str, size: tuple[int, int]) -> None:
    network = _on_dilated(name).eval().to(memory_format=torch.channels_last)
    images = torch.randn(2, 3, *size).to(memory_format=torch.channels_last)
    output = network(images)
    stride = 4 if name in ("deeplabv3plus", "ocr") else 8
    side = (-(-size[0] // stride), -(-size[1] // stride))
    assert output.logits.shape == (2, 5, *side)
    assert output.embedding.shape == (2, network.embedding_channels, *side)
    assert set(output.aux) == ({"aux"} if name.startswith("ocr") else set()), "in evaluation only where it is needed"
    assert torch.equal(output.logits, network(images).logits)
    torch.testing.assert_close(output.logits, network(images.contiguous()).logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", DECODERS)
def test_decoders_of_dilated_networks_train_every_parameter_under_autocast(name: str) -> None:
    network = _on_dilated(name).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = network(torch.randn(2, 3, 90, 61))
    terms = [F.cross_entropy(logits.float(), logits.argmax(1)) for logits in (output.logits, *output.aux.values())]
    torch.stack(terms).sum().backward()
    read = {"deeplabv2": (3,), "deeplabv3plus": (0, 2, 3), "ocr": (0, 1, 2, 3)}.get(name, (2, 3))
    trained = [parameter for layer in read for parameter in network.backbone.layers[layer].parameters()]
    assert set(output.aux) == (set() if name == "deeplabv2" else {"aux"})
    assert all(p.grad is not None and p.grad.isfinite().all() for p in (*trained, *network.decoder.parameters()))


@pytest.mark.parametrize("name", DECODERS)
def test_decoders_of_dilated_networks_compile_to_one_graph(name: str) -> None:
    network = _on_dilated(name).eval()
    images = torch.randn(1, 3, 45, 61)
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    assert torch.equal(compiled(images).logits, network(images).logits)


@pytest.mark.parametrize("name", DECODERS)
def test_align_corners_reaches_the_resizes_of_decoders(name: str) -> None:
    """Only where a decoder resizes at all; the image's mean is the same everywhere."""
    on, off = _on_dilated(name, align_corners=True).eval(), _on_dilated(name, align_corners=False).eval()
    images = torch.randn(1, 3, 64, 64)
    same = torch.equal(on(images).logits, off(images).logits)
    assert same == (name in ("deeplabv2", "deeplabv3", "ocr-stage3"))


def test_wrong_options_are_one_line_each() -> None:
    spec = ModelSpec(backbone=Choice(name="hrnetv2", options={"width": 0, "depth": 3}), decoder=Choice(name="concat"))
    with pytest.raises(InvalidFault) as fault:
        build_segmentor(spec, num_classes=3)
    assert len(fault.value.faults) == 2
    assert "'width'" in fault.value.faults[0]
    with pytest.raises(UsageFault, match="hrnetv2"):
        build_segmentor(ModelSpec(backbone="hrnetv", decoder="concat"), num_classes=3)  # type: ignore[arg-type]


def test_labels() -> None:
    def label(backbone: object, decoder: object = "concat") -> str:
        return model_label(ModelSpec.model_validate({"backbone": backbone, "decoder": decoder}))

    assert label("hrnetv2") == "HRNetV2-W48 (concat)"
    assert label({"name": "hrnetv2", "bn_momentum": 0.01}) == "HRNetV2-W48 (concat)"
    assert label({"name": "hrnetv2", "width": 18}) == "HRNetV2-W18 (concat)"
    assert label(TINY) == "HRNetV2-W4-small (concat)"
    assert label("hrnetv2", {"name": "concat", "head": "conv1x1"}) == "HRNetV2-W48 (concat, 1x1 head)"
    dilated = {"name": "resnet", "output_stride": 8}
    assert label(dilated, "deeplabv2") == "D-ResNet-101 (DeepLabV2)"
    assert label(dilated, {"name": "deeplabv2", "branches": "all"}) == "D-ResNet-101 (DeepLabV2, 4 branches)"
    assert label(dilated, {"name": "deeplabv3", "channels": 512}) == "D-ResNet-101 (DeepLabV3)"
    assert label(dilated, "deeplabv3plus") == "D-ResNet-101 (DeepLabV3+)"
    assert label(dilated, "pspnet") == "D-ResNet-101 (PSPNet)"
    assert label("resnet", {"name": "pspnet", "bins": [2, 3]}) == "ResNet-101 (PSPNet, bins 2-3)"
    assert label("hrnetv2", "ocr") == "HRNetV2-W48 (OCR)"
    assert label("hrnetv2", {"name": "ocr", "aux_head": "conv1x1"}) == "HRNetV2-W48 (OCR, 1x1 head)"
    assert label("swin-x", "upernet") == "swin-x + upernet"
    assert label("hrnetv2", "upernet-of-nobody") == "hrnetv2 + upernet-of-nobody"
    assert label({"name": "hrnetv2", "width": -1}) == "hrnetv2 + concat"


def test_options_labels_and_lookups_need_no_torch() -> None:
    code = (
        "import sys; import segbench.models.labels, segbench.checkpoints.backbone_weights, segbench.metrics.rules\n"
        "import segbench.metrics.scores; from segbench.core import registry\n"
        "[registry.options_of(k, n)() for k in ('backbone', 'decoder') for n in registry.names(k)]\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert {"hrnetv2"} <= set(registry.names("backbone"))
