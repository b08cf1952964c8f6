"""Xception-71 against timm's at its own strides, and written out at strides and in modes that timm does not have."""

from collections.abc import Sequence

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segbench.models.backbones.xception71.network import build
from segbench.models.backbones.xception71.options import Options
from tests.models.random_weights import randomise

TINY = {"width": 0.0625, "middle_blocks": 2}
# (stride, dilation) of the five entry blocks, two middle ones and two exit ones, by output stride
BLOCKS = {
    32: ((2, 1), (1, 1), (2, 1), (1, 1), (2, 1), (1, 1), (1, 1), (2, 1), (1, 1)),
    16: ((2, 1), (1, 1), (2, 1), (1, 1), (2, 1), (1, 1), (1, 1), (1, 1), (1, 2)),
    8: ((2, 1), (1, 1), (2, 1), (1, 1), (1, 1), (1, 2), (1, 2), (1, 2), (1, 4)),
}


def _plain(state: dict[str, Tensor], images: Tensor, blocks: Sequence[tuple[int, int]]) -> tuple[Tensor, Tensor]:
    """The decoder's fine feature and the output, from weights by name, in float64."""
    state = {name: tensor.double() for name, tensor in state.items()}

    def norm(x: Tensor, name: str) -> Tensor:
        mean, var, weight, bias = (state[f"{name}.{k}"] for k in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, mean, var, weight, bias, eps=1e-3)

    def separable(x: Tensor, name: str, *, stride: int, dilation: int, relu: bool) -> Tensor:
        weight = state[f"{name}.conv_dw.weight"]
        x = F.conv2d(x, weight, stride=stride, padding=dilation, dilation=dilation, groups=x.shape[1])
        x = norm(x, f"{name}.bn_dw")
        x = norm(F.conv2d(x.clamp(min=0) if relu else x, state[f"{name}.conv_pw.weight"]), f"{name}.bn_pw")
        return x.clamp(min=0) if relu else x

    x = images.double()
    for number, stride in enumerate((2, 1)):
        x = F.conv2d(x, state[f"stem.{number}.conv.weight"], stride=stride, padding=1)
        x = norm(x, f"stem.{number}.bn").clamp(min=0)
    fine = x
    for number, (stride, dilation) in enumerate(blocks):
        last = number == len(blocks) - 1
        y = x
        for conv in (1, 2, 3):
            y = y if last else y.clamp(min=0)
            name = f"blocks.{number}.stack.conv{conv}"
            y = separable(y, name, stride=stride if conv == 3 else 1, dilation=dilation, relu=last)
            if (number, conv) == (2, 2):
                fine = y
        shortcut = f"blocks.{number}.shortcut"
        if f"{shortcut}.conv.weight" in state:
            x = norm(F.conv2d(x, state[f"{shortcut}.conv.weight"], stride=stride), f"{shortcut}.bn")
        x = y if last else x + y
    return fine, x


def _assert_close(got: Tensor, wanted: Tensor) -> None:
    assert got.shape == wanted.shape
    assert (got - wanted).abs().max() <= 1e-4 * wanted.abs().max()


@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_is_the_network_written_out(output_stride: int) -> None:
    network = build(Options.model_validate({**TINY, "output_stride": output_stride}), align_corners=True)
    randomise(network)
    images = torch.randn(1, 3, 65, 97)
    wanted = _plain(dict(network.state_dict()), images, BLOCKS[output_stride])
    got = network(images)
    for a, b in zip(got, wanted, strict=True):
        _assert_close(a, b)
    assert got[0].min() < 0  # before the ReLU
    assert network.layer_strides == (4, output_stride)


def test_equals_timm_at_output_stride_16() -> None:
    theirs = randomise(timm.create_model("xception71", pretrained=False, num_classes=0, output_stride=16))
    ours = build(Options(), align_corners=True).eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    images = torch.randn(1, 3, 65, 97)
    taps: list[Tensor] = []
    for info in (theirs.feature_info[1], theirs.feature_info[-1]):
        theirs.get_submodule(info["module"]).register_forward_hook(lambda _, __, output: taps.append(output))
    with torch.no_grad():
        theirs(images)
        got = ours(images)
    fine, last = taps
    _assert_close(got[0].clamp(min=0), fine)  # timm's tap is after the ReLU
    _assert_close(got[1], last)


def test_evaluation_can_have_another_stride() -> None:
    network = build(Options(eval_output_stride=8, **TINY), align_corners=True)  # type: ignore[arg-type]
    randomise(network)
    images = torch.randn(2, 3, 65, 97)
    state = dict(network.state_dict())
    for mode, stride in ((False, 8), (True, 16), (False, 8)):
        network.train(mode)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()  # so that both modes normalise alike
        for got, wanted in zip(network(images), _plain(state, images, BLOCKS[stride]), strict=True):
            _assert_close(got, wanted)


def test_parameters_and_names_of_the_full_network() -> None:
    with torch.device("meta"):
        network = build(Options(output_stride=8), align_corners=True)
        theirs = timm.create_model("xception71", pretrained=False, num_classes=0).state_dict()
    assert sum(p.numel() for p in network.parameters()) == 40_289_736  # 40.29 M
    assert network.layer_channels == (256, 2048)
    assert {k: v.shape for k, v in network.state_dict().items()} == {k: v.shape for k, v in theirs.items()}


@pytest.mark.parametrize("size", [(32, 32), (45, 61), (129, 257), (360, 480)])
def test_any_input_size_gives_strides_rounded_up(size: tuple[int, int]) -> None:
    with torch.device("meta"):
        network = build(Options.model_validate(TINY), align_corners=True).eval()
        fine, coarse = network(torch.empty(1, 3, *size))
    assert fine.shape == (1, 16, -(-size[0] // 4), -(-size[1] // 4))
    assert coarse.shape == (1, 128, -(-size[0] // 16), -(-size[1] // 16))


def test_every_parameter_receives_a_gradient_and_norms_are_deeplabs() -> None:
    network = build(Options.model_validate(TINY), align_corners=True)
    sum(layer.square().mean() for layer in network(torch.randn(2, 3, 64, 64))).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 3e-4)}


def test_labels() -> None:
    assert Options().label() == "D-Xception-71"
    assert Options(width=0.25, output_stride=32).label() == "Xception-71-small"
