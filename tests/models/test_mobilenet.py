"""MobileNets and EfficientNet-Lite0 against torchvision's, MobileNetV1 against its table, dilations by hand."""

from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn

from segbench.core.registry import implementation, options_of
from segbench.models.segmentor import Backbone
from tests.models.random_weights import randomise

NAMES = ("mobilenetv1", "mobilenetv2", "mobilenetv3-large", "efficientnet-lite0")


def _build(name: str, **options: object) -> Backbone:
    network: Backbone = implementation("backbone", name, "network").build(
        options_of("backbone", name).model_validate(options), align_corners=True
    )
    return network


def _parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def _take_over(ours: nn.Module, theirs: nn.Module) -> None:
    """Copy weights in the order of the layers, which is the same in both networks under other names."""
    theirs_state = {k: v for k, v in theirs.state_dict().items() if not k.startswith("classifier.")}
    own = ours.state_dict()
    assert [v.shape for v in own.values()] == [v.shape for v in theirs_state.values()]
    ours.load_state_dict(dict(zip(own, theirs_state.values(), strict=True)), strict=True)
    ours.eval()


def _through(features: nn.Sequential, images: Tensor, taps: tuple[int, ...]) -> list[Tensor]:
    """Outputs of a torchvision network after the features of these numbers."""
    x, found = images, []
    for number, feature in enumerate(features):
        x = feature(x)
        if number in taps:
            found.append(x)
    return found


def _assert_equal(got: tuple[Tensor, ...], wanted: list[Tensor]) -> None:
    assert len(got) == len(wanted)
    for a, b in zip(got, wanted, strict=True):
        assert (a - b).abs().max() <= 1e-4 * b.abs().max()


@pytest.mark.parametrize("width", [1.0, 0.5])
def test_v2_equals_torchvision(width: float) -> None:
    theirs: Any = randomise(torchvision.models.mobilenet_v2(width_mult=width))
    ours = _build("mobilenetv2", last_conv=True, width=width)
    if width < 1:  # the paper does not narrow the last convolution, segbench does
        theirs.features = theirs.features[:18]
        ours = _build("mobilenetv2", width=width)
    _take_over(ours, theirs)
    images = torch.randn(1, 3, 129, 257)
    with torch.no_grad():
        _assert_equal(ours(images), _through(theirs.features, images, (3, 6, 13, 18 if width == 1 else 17)))


@pytest.mark.parametrize("dilated", [False, True])
def test_v3_equals_torchvision(dilated: bool) -> None:
    """torchvision's dilated network, which DeepLabV3 has there, dilates every block of the last stage."""
    theirs: Any = randomise(torchvision.models.mobilenet_v3_large(dilated=dilated))
    more = {"output_stride": 16, "dilation": "full"} if dilated else {}
    ours = _build("mobilenetv3-large", bn_eps=1e-3, bn_momentum=0.01, **more)
    _take_over(ours, theirs)
    images = torch.randn(1, 3, 129, 257)
    with torch.no_grad():
        _assert_equal(ours(images), _through(theirs.features, images, (3, 6, 12, 16)))
    assert ours.layer_strides == ((4, 8, 16, 16) if dilated else (4, 8, 16, 32))


def _lite(network: nn.Module) -> None:
    """Take squeeze-and-excitation from torchvision's EfficientNet, and make its activations ReLU6."""
    for module in network.modules():
        for name, child in module.named_children():
            if isinstance(child, torchvision.ops.SqueezeExcitation):
                setattr(module, name, nn.Identity())
            elif isinstance(child, nn.SiLU):
                setattr(module, name, nn.ReLU6())


def _pad_as_tensorflow(conv: nn.Conv2d, inputs: tuple[Tensor]) -> tuple[Tensor]:
    """SAME padding of TensorFlow: outputs are ceil(size / stride) long, the odd zero comes after the map."""
    (x,) = inputs
    around = []
    for length, side, stride in zip(x.shape[:1:-1], conv.kernel_size[::-1], conv.stride[::-1], strict=True):
        total = max(0, (-(-length // stride) - 1) * stride + side - length)
        around += [total // 2, total - total // 2]
    return (nn.functional.pad(x, around),)


@pytest.mark.parametrize("size", [(129, 257), (96, 128), (90, 121)])
def test_efficientnet_lite0_equals_torchvision(size: tuple[int, int]) -> None:
    """torchvision's B0 without squeeze-and-excitation, with ReLU6, and padded by the formula of TensorFlow."""
    theirs: Any = torchvision.models.efficientnet_b0()
    _lite(theirs)
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-3
        if isinstance(module, nn.Conv2d) and module.stride == (2, 2):
            module.padding = (0, 0)
            module.register_forward_pre_hook(_pad_as_tensorflow)
    randomise(theirs)
    theirs.features = theirs.features[:8]  # without the last 1x1 convolution
    ours = _build("efficientnet-lite0")
    _take_over(ours, theirs)
    images = torch.randn(1, 3, *size)
    with torch.no_grad():
        _assert_equal(ours(images), _through(theirs.features, images, (2, 3, 5, 7)))


def convolve(x: np.ndarray, weight: np.ndarray, stride: int, *, depthwise: bool, at_end: bool) -> Tensor:
    """Product by product from the definition; what lies outside of the map is 0.

    Output (i, j) of a stride of 2 begins at row 2i and column 2j if it pads ``at_end``, else one before.
    """
    side, (height, width) = weight.shape[-1], x.shape[2:]
    before, after = (0, 1) if at_end and stride == 2 else (side // 2, side // 2)
    rows, columns = ((length + before + after - side) // stride + 1 for length in (height, width))
    padded = np.zeros((*x.shape[:2], height + 2 * side, width + 2 * side))
    padded[:, :, before : before + height, before : before + width] = x
    total = 0
    for i in range(side):
        for j in range(side):
            shown = padded[:, :, i : i + stride * rows : stride, j : j + stride * columns : stride]
            kernel = weight[:, :, i, j]
            product = shown * kernel[:, 0, None, None] if depthwise else np.einsum("oc,nchw->nohw", kernel, shown)
            total = total + product
    return torch.from_numpy(np.asarray(total))


@pytest.mark.parametrize("size", [(65, 97), (64, 96), (66, 99)])
@pytest.mark.parametrize(("padding", "eps"), [("symmetric", 1e-5), ("right-bottom", 1e-3)])
def test_v1_is_its_table_written_out(size: tuple[int, int], padding: str, eps: float) -> None:
    """Table 1 of the paper: channels out and stride of each pair of depthwise and pointwise convolution; all ReLU6."""
    pairs = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))
    network = randomise(_build("mobilenetv1", width=0.25, padding=padding, bn_eps=eps))
    tensors = [tensor.double() for name, tensor in network.state_dict().items() if "num_batches" not in name]

    def conv_norm(x: Tensor, *, stride: int, depthwise: bool = False) -> Tensor:
        weight, scale, shift, mean, var = (tensors.pop(0) for _ in range(5))
        x = convolve(x.numpy(), weight.numpy(), stride, depthwise=depthwise, at_end=padding == "right-bottom")
        x = (x - mean[:, None, None]) / (var[:, None, None] + eps).sqrt() * scale[:, None, None] + shift[:, None, None]
        return x.clamp(0, 6)

    images = torch.randn(1, 3, *size)
    x, wanted = conv_norm(images.double(), stride=2), []
    for number, (channels, stride) in enumerate(pairs):
        x = conv_norm(x, stride=stride, depthwise=True)
        x = conv_norm(x, stride=1)
        assert x.shape[1] == channels // 4
        if number in (2, 4, 10, 12):
            wanted.append(x)
    assert not tensors
    _assert_equal(network(images), wanted)


def test_v1_padding_changes_no_name_and_no_weight_but_the_sizes_of_odd_maps() -> None:
    torch.manual_seed(0)
    symmetric = _build("mobilenetv1", width=0.25)
    torch.manual_seed(0)
    at_end = _build("mobilenetv1", width=0.25, padding="right-bottom")
    ours, theirs = at_end.state_dict(), symmetric.state_dict()
    assert list(ours) == list(theirs)
    assert all(ours[name].shape == theirs[name].shape for name in theirs)
    at_end.load_state_dict(theirs)
    for size, down in (((64, 96), 0), ((65, 97), 1)):
        with torch.no_grad():
            one, two = (network.eval()(torch.randn(1, 3, *size)) for network in (symmetric, at_end))
        assert [tuple(layer.shape[2:]) for layer in two] == [(64 // s, 96 // s) for s in (4, 8, 16, 32)]
        assert [layer.shape[2] - other.shape[2] for layer, other in zip(one, two, strict=True)] == [down] * 4
    dilated = _build("mobilenetv1", width=0.25, padding="right-bottom", output_stride=16, dilation="full")
    assert [tuple(layer.shape[2:]) for layer in dilated(torch.randn(2, 3, 64, 96))] == [
        (16, 24),
        (8, 12),
        (4, 6),
        (4, 6),
    ]


# Dilations of a stage's first depthwise convolution and of the others, at output stride 8
CONTRACTED = {
    "mobilenetv1": [(1, 1), (1, 1), (1, 1), (1, 2), (2, 4)],
    "mobilenetv2": [(1, 1), (1, 1), (1, 1), (1, 2), (2, 2), (2, 4), (4, 4)],
    "mobilenetv3-large": [(1, 1), (1, 1), (1, 1), (1, 2), (2, 2), (2, 4)],
    "efficientnet-lite0": [(1, 1), (1, 1), (1, 1), (1, 2), (2, 2), (2, 4), (4, 4)],
}
FULL = {
    "mobilenetv1": [(1, 1), (1, 1), (1, 1), (2, 2), (4, 4)],
    "mobilenetv2": [(d, d) for d in (1, 1, 1, 2, 2, 4, 4)],
    "mobilenetv3-large": [(1, 1), (1, 1), (1, 1), (2, 2), (2, 2), (4, 4)],
    "efficientnet-lite0": [(d, d) for d in (1, 1, 1, 2, 2, 4, 4)],
}

# mmsegmentation lists these dilations for its MobileNetV2, but gives them to the first block of a stage alone.
FIRST = {name: [(first, 1) for first, _ in dilations] for name, dilations in FULL.items()}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("convention", "table"), [("contracted", CONTRACTED), ("full", FULL), ("first", FIRST)])
def test_dilations_at_output_stride_8(name: str, convention: str, table: dict[str, list[tuple[int, int]]]) -> None:
    network: Any = _build(name, output_stride=8, dilation=convention, width=0.25)
    stages = [[block.conv_dw.dilation[0] for block in stage if hasattr(block, "conv_dw")] for stage in network.blocks]
    found = [stage for stage in stages if stage]  # the last of MobileNetV3 is a 1x1 convolution
    assert found == [[first] + [rest] * (len(s) - 1) for s, (first, rest) in zip(found, table[name], strict=True)]


@pytest.mark.parametrize(
    ("name", "options", "channels", "parameters", "millions"),
    [
        ("mobilenetv1", {}, (128, 256, 512, 1024), 3_206_976, 32.58),
        ("mobilenetv2", {}, (24, 32, 96, 320), 1_811_712, None),
        ("mobilenetv2", {"last_conv": True}, (24, 32, 96, 1280), 2_223_872, 35.40),
        ("mobilenetv3-large", {}, (24, 40, 112, 960), 2_971_952, 31.40),
        # timm's 4,652,008 less the last convolution, its norm and the classifier of 1,000 classes
        ("efficientnet-lite0", {}, (24, 40, 112, 320), 4_652_008 - 320 * 1280 - 2 * 1280 - 1281 * 1000, None),
    ],
)
def test_parameters(
    name: str, options: dict[str, object], channels: tuple[int, ...], parameters: int, millions: float | None
) -> None:
    """With the head that ContrastiveSeg's release puts on them they come to its totals."""
    with torch.device("meta"):
        network = _build(name, **options)
    assert network.layer_channels == channels
    assert _parameters(network) == parameters
    if millions is not None:
        width, classes = 512, 19
        norm = 2 * width
        pyramid = (1 + 3 * 9 + 1) * channels[-1] * width + 5 * norm
        fused, refined = 9 * 5 * width * width + norm, 9 * width * width + norm
        head = pyramid + fused + refined + (width + 1) * classes
        assert round((parameters + head) / 1e6, 2) == millions


@pytest.mark.parametrize("dilation", ["contracted", "full", "first"])
@pytest.mark.parametrize("output_stride", [8, 16, 32])
@pytest.mark.parametrize("name", NAMES)
def test_any_input_size_gives_strides_rounded_up(name: str, output_stride: int, dilation: str) -> None:
    with torch.device("meta"):
        network = _build(name, output_stride=output_stride, dilation=dilation, width=0.25).eval()
    assert network.layer_strides == tuple(min(stride, output_stride) for stride in (4, 8, 16, 32))
    for size in ((32, 32), (45, 61), (129, 257), (360, 480)):
        layers = network(torch.empty(1, 3, *size, device="meta"))
        for layer, channels, stride in zip(layers, network.layer_channels, network.layer_strides, strict=True):
            assert layer.shape == (1, channels, -(-size[0] // stride), -(-size[1] // stride))


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_receives_a_gradient_and_options_reach_every_norm(name: str) -> None:
    more = {"last_conv": True} if name == "mobilenetv2" else {}
    network = _build(name, width=0.25, bn_eps=1e-3, bn_momentum=0.02, **more)
    sum(layer.square().mean() for layer in network(torch.randn(2, 3, 64, 64))).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.02)}


def test_labels() -> None:
    labels = [options_of("backbone", name)().label() for name in NAMES]  # type: ignore[attr-defined]
    assert labels == ["MobileNetV1", "MobileNetV2", "MobileNetV3-Large", "EfficientNet-Lite0"]
    assert options_of("backbone", "mobilenetv2")(width=0.35).label() == "MobileNetV2-0.35"  # type: ignore[attr-defined]
