"""ResNet against a network written out step by step from its table, against torchvision's, and its variants by hand."""

from collections.abc import Sequence

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck
from torchvision.models.resnet import ResNet as TorchvisionResNet

from segbench.metrics.cost import count_cost
from segbench.models.backbones.resnet.network import build
from segbench.models.backbones.resnet.options import Options
from tests.models.random_weights import randomise

TINY = {"width": 0.0625, "blocks": (2, 2, 2, 2)}
PLAIN, HALVED = [(1, 1), (1, 1)], [(2, 1), (1, 1)]
LATE = [(1, 1), (2, 1)]

Stage = Sequence[tuple[int, int]]  # stride and dilation of each block


def _plain(
    state: dict[str, Tensor],
    images: Tensor,
    stages: Sequence[Stage],
    *,
    ceil_mode: bool = False,
    stride_in: str = "conv2",
    eps: float = 1e-5,
) -> list[Tensor]:
    """Outputs of the four stages, from weights by name, in the precision of ``images``."""
    state = {name: tensor.to(images.dtype) for name, tensor in state.items()}

    def conv(x: Tensor, name: str, *, stride: int = 1, dilation: int = 1) -> Tensor:
        weight = state[f"{name}.weight"]
        return F.conv2d(x, weight, stride=stride, padding=dilation * (weight.shape[-1] // 2), dilation=dilation)

    def norm(x: Tensor, name: str) -> Tensor:
        weight, bias, mean, var = (
            state[f"{name}.{part}"][:, None, None] for part in ("weight", "bias", "running_mean", "running_var")
        )
        return (x - mean) / (var + eps).sqrt() * weight + bias

    if "conv1.weight" in state:
        x = conv(images, "conv1", stride=2)
    else:
        x = norm(conv(images, "conv1.0", stride=2), "conv1.1").clamp(min=0)
        x = norm(conv(x, "conv1.3"), "conv1.4").clamp(min=0)
        x = conv(x, "conv1.6")
    x = F.max_pool2d(norm(x, "bn1").clamp(min=0), 3, stride=2, padding=1, ceil_mode=ceil_mode)
    outputs = []
    for number, stage in enumerate(stages, 1):
        for block, (stride, dilation) in enumerate(stage):
            name = f"layer{number}.{block}"
            inner = stride if stride_in == "conv2" else 1
            y = norm(conv(x, f"{name}.conv1", stride=stride // inner), f"{name}.bn1").clamp(min=0)
            y = norm(conv(y, f"{name}.conv2", stride=inner, dilation=dilation), f"{name}.bn2").clamp(min=0)
            y = norm(conv(y, f"{name}.conv3"), f"{name}.bn3")
            if f"{name}.downsample.0.weight" in state:
                x = norm(conv(x, f"{name}.downsample.0", stride=stride), f"{name}.downsample.1")
            else:
                x = x[..., ::stride, ::stride]
            x = (x + y).clamp(min=0)
        outputs.append(x)
    return outputs


@pytest.mark.parametrize(
    ("options", "stages", "strides"),
    [
        ({}, [PLAIN, HALVED, HALVED, HALVED], (4, 8, 16, 32)),
        ({"dilation": "full"}, [PLAIN, HALVED, HALVED, HALVED], (4, 8, 16, 32)),
        ({"output_stride": 16}, [PLAIN, HALVED, HALVED, [(1, 1), (1, 2)]], (4, 8, 16, 16)),
        ({"output_stride": 16, "dilation": "full"}, [PLAIN, HALVED, HALVED, [(1, 2), (1, 2)]], (4, 8, 16, 16)),
        ({"output_stride": 8}, [PLAIN, HALVED, [(1, 1), (1, 2)], [(1, 2), (1, 4)]], (4, 8, 8, 8)),
        (
            {"output_stride": 8, "dilation": "full"},
            [PLAIN, HALVED, [(1, 2), (1, 2)], [(1, 4), (1, 4)]],
            (4, 8, 8, 8),
        ),
        ({"stride_at": "last"}, [LATE, LATE, LATE, PLAIN], (8, 16, 32, 32)),
        (
            {"stride_at": "last", "output_stride": 8, "dilation": "full"},
            [LATE, PLAIN, [(1, 2), (1, 2)], [(1, 4), (1, 4)]],
            (8, 8, 8, 8),
        ),
    ],
)
@pytest.mark.parametrize("stem", ["conv7x7", "deep", "deep-narrow"])
def test_is_the_network_written_out(
    options: dict[str, object], stages: Sequence[Stage], strides: tuple[int, ...], stem: str
) -> None:
    """Two blocks a stage show what the first does and what the others do."""
    network = build(Options.model_validate({**TINY, "stem": stem, **options}), align_corners=True)
    randomise(network)
    images = torch.randn(1, 3, 65, 97, dtype=torch.float64)
    expected = _plain(dict(network.state_dict()), images, stages)
    for got, wanted in zip(network(images.float()), expected, strict=True):
        assert (got - wanted).abs().max() <= 1e-4 * wanted.abs().max()
    assert network.layer_strides == strides


@pytest.mark.parametrize("stride_in", ["conv1", "conv2"])
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_stride_in_the_first_convolution_and_pooling_that_rounds_up(stride_in: str, ceil_mode: bool) -> None:
    more = {"stride_in": stride_in, "ceil_mode": ceil_mode, "output_stride": 8, "dilation": "full", "bn_eps": 1e-3}
    network = randomise(build(Options.model_validate({**TINY, **more}), align_corners=True))
    images = torch.randn(1, 3, 64, 96, dtype=torch.float64)
    stages = [PLAIN, HALVED, [(1, 2), (1, 2)], [(1, 4), (1, 4)]]
    expected = _plain(dict(network.state_dict()), images, stages, ceil_mode=ceil_mode, stride_in=stride_in, eps=1e-3)
    for got, wanted in zip(network(images.float()), expected, strict=True):
        assert got.shape == wanted.shape
        assert (got - wanted).abs().max() <= 1e-4 * wanted.abs().max()


@pytest.mark.parametrize(("ceil_mode", "fine", "coarse"), [(True, (25, 33), (13, 17)), (False, (24, 32), (12, 16))])
def test_pooling_that_rounds_up_gives_the_released_networks_sizes(
    ceil_mode: bool, fine: tuple[int, int], coarse: tuple[int, int]
) -> None:
    network = build(Options(ceil_mode=ceil_mode, output_stride=8, **TINY), align_corners=True).eval()  # type: ignore[arg-type]
    layers = network(torch.randn(1, 3, 96, 128))
    assert [tuple(layer.shape[-2:]) for layer in layers] == [fine, coarse, coarse, coarse]


def test_equals_torchvision_dilated() -> None:
    theirs = TorchvisionResNet(Bottleneck, [2, 2, 2, 2], replace_stride_with_dilation=[False, True, True])
    randomise(theirs)
    ours = build(Options(depth=50, output_stride=8, blocks=(2, 2, 2, 2)), align_corners=True).eval()
    ours.load_state_dict({k: v for k, v in theirs.state_dict().items() if not k.startswith("fc.")}, strict=True)
    images = torch.randn(1, 3, 129, 257)
    with torch.no_grad():
        x = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(images))))
        for layer, got in zip(("layer1", "layer2", "layer3", "layer4"), ours(images), strict=True):
            x = getattr(theirs, layer)(x)
            assert (got - x).abs().max() <= 1e-5 * x.abs().max()


@pytest.mark.parametrize("depth", [50, 101])
def test_names_and_shapes_are_torchvisions(depth: int) -> None:
    with torch.device("meta"):
        theirs = getattr(torchvision.models, f"resnet{depth}")().state_dict()
        ours = build(Options.model_validate({"depth": depth}), align_corners=True).state_dict()
    shapes = {name: tensor.shape for name, tensor in theirs.items() if not name.startswith("fc.")}
    assert {name: tensor.shape for name, tensor in ours.items()} == shapes


@pytest.mark.parametrize(
    ("options", "timm_name", "parameters"),
    [
        ({"depth": 101}, "resnet101", 42_500_160),  # 42.50 M
        ({"depth": 101, "stem": "deep"}, "resnet101s", 42_623_936),  # 42.62 M
        ({"depth": 101, "stem": "deep-narrow"}, "resnet101c", 42_519_392),
        ({"depth": 50}, "resnet50", 23_508_032),
        ({"depth": 50, "stem": "deep"}, "resnet50s", 23_631_808),
    ],
)
def test_parameters_of_full_networks_and_their_names(
    options: dict[str, object], timm_name: str, parameters: int
) -> None:
    with torch.device("meta"):
        network = build(Options.model_validate({**options, "output_stride": 8, "dilation": "full"}), align_corners=True)
        theirs = timm.create_model(timm_name, pretrained=False, num_classes=0).state_dict()
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert {k: v.shape for k, v in network.state_dict().items()} == {k: v.shape for k, v in theirs.items()}
    assert network.layer_channels == (256, 512, 1024, 2048)


def test_multiply_adds_of_deeplabv2() -> None:
    """180.1 G at 512x512 and 19 classes as measured of SemiSeg-Contrastive's, which sums two 3x3 classifiers."""
    with torch.device("meta"):
        network = build(Options(output_stride=8, dilation="full"), align_corners=True)
    convolutions = count_cost(network, (512, 512)).flops // 2
    classifier = 64 * 64 * 19 * 2048 * 3 * 3
    assert round((convolutions + 2 * classifier) / 1e9, 1) == 180.1


@pytest.mark.parametrize("dilation", ["contracted", "full"])
@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_any_input_size_gives_strides_rounded_up(output_stride: int, dilation: str) -> None:
    options = Options.model_validate({**TINY, "output_stride": output_stride, "dilation": dilation})
    with torch.device("meta"):
        network = build(options, align_corners=True).eval()
    for size in ((32, 32), (45, 61), (129, 257), (360, 480)):
        layers = network(torch.empty(1, 3, *size, device="meta"))
        for layer, channels, stride in zip(layers, network.layer_channels, network.layer_strides, strict=True):
            assert layer.shape == (1, channels, -(-size[0] // stride), -(-size[1] // stride))


def test_frozen_norms_keep_scale_and_shift_and_follow_the_statistics() -> None:
    network = build(Options(frozen_norm=True, **TINY), align_corners=True).train()  # type: ignore[arg-type]
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    frozen = {id(p) for norm in norms for p in norm.parameters()}
    assert all(p.requires_grad == (id(p) not in frozen) for p in network.parameters())
    # 0 would close a residual branch for ever
    assert all(norm.weight.eq(1).all() and norm.bias.eq(0).all() for norm in norms)
    before = [norm.running_var.clone() for norm in norms]
    sum(layer.square().mean() for layer in network(torch.randn(2, 3, 64, 64))).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters() if p.requires_grad)
    assert not any(norm.running_var.equal(old) for norm, old in zip(norms, before, strict=True))


def test_every_parameter_receives_a_gradient_and_options_reach_every_norm() -> None:
    network = build(Options(bn_eps=1e-3, bn_momentum=0.01, stem="deep", **TINY), align_corners=True)  # type: ignore[arg-type]
    sum(layer.square().mean() for layer in network(torch.randn(2, 3, 64, 64))).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    assert {(m.eps, m.momentum) for m in network.modules() if isinstance(m, nn.BatchNorm2d)} == {(1e-3, 0.01)}


def test_labels() -> None:
    assert Options().label() == "ResNet-101"
    assert Options(depth=50, output_stride=16).label() == "D-ResNet-50"
    assert Options(width=0.25, blocks=(1, 1, 2, 1), output_stride=8).label() == "D-ResNet-17-small"
    assert Options(blocks=(3, 4, 6, 3)).label() == "ResNet-50"
