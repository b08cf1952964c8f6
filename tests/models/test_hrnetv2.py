"""HRNetV2 against timm's network, and at sizes and widths that timm cannot do."""

import pytest
import timm
import torch
from torch import nn

from segbench.core.spec import ModelSpec
from segbench.models.backbones.hrnetv2.network import build
from segbench.models.backbones.hrnetv2.options import Options
from segbench.models.segmentor import build_segmentor

SMALL = Options(width=16, modules=(1, 1, 1), blocks_per_branch=2, stage1_blocks=1, stage1_width=32)
TINY = Options(width=4, modules=(1, 2, 1), blocks_per_branch=1, stem_channels=8, stage1_blocks=1, stage1_width=4)
TIMM_ONLY = ("incre_modules.", "downsamp_modules.", "final_layer.", "classifier.")


def _timm_reference(name: str) -> nn.Module:
    """timm's network with random weights and the segmentation networks' bilinear instead of its nearest resizing."""
    torch.manual_seed(3)
    network = timm.create_model(name, pretrained=False, features_only=True, feature_location="")
    for module in list(network.modules()):
        for child_name, child in module.named_children():
            if isinstance(child, nn.Upsample):
                bilinear = nn.Upsample(scale_factor=child.scale_factor, mode="bilinear", align_corners=False)
                setattr(module, child_name, bilinear)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return network.eval()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("hrnet_w18_small", SMALL),
        ("hrnet_w18_small_v2", Options(width=18, modules=(1, 3, 2), blocks_per_branch=2, stage1_blocks=2)),
    ],
)
def test_equals_timm_with_bilinear_resizing(name: str, options: Options) -> None:
    theirs = _timm_reference(name)
    ours = build(options, align_corners=False).eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        expected = theirs(images)[1:]
        got = ours(images)
    for a, b in zip(got, expected, strict=True):
        assert (a - b).abs().max() <= 1e-5 * b.abs().max()


@pytest.mark.parametrize("width", [18, 32, 48])
def test_names_and_shapes_are_those_of_the_full_timm_networks(width: int) -> None:
    with torch.device("meta"):
        theirs = timm.create_model(f"hrnet_w{width}", pretrained=False).state_dict()
        ours = build(Options(width=width), align_corners=True).state_dict()
    kept = {name: tensor.shape for name, tensor in theirs.items() if not name.startswith(TIMM_ONLY)}
    assert {name: tensor.shape for name, tensor in ours.items()} == kept


def test_w48_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        network = build(Options(), align_corners=True)
    assert sum(p.numel() for p in network.parameters()) == 65_325_120
    assert network.layer_channels == (48, 96, 192, 384)


@pytest.mark.parametrize("size", [(32, 32), (45, 60), (129, 257), (90, 120)])
@pytest.mark.parametrize("align_corners", [False, True])
def test_any_input_size_gives_strides_rounded_up(size: tuple[int, int], align_corners: bool) -> None:
    network = build(TINY, align_corners=align_corners).eval()
    layers = network(torch.randn(1, 3, *size))
    for layer, channels, stride in zip(layers, network.layer_channels, network.layer_strides, strict=True):
        assert layer.shape == (1, channels, -(-size[0] // stride), -(-size[1] // stride))
        assert torch.isfinite(layer).all()


@pytest.mark.parametrize(("size", "same"), [((64, 96), True), ((96, 129), False)])
def test_enlarging_by_a_factor_first_differs_where_sides_are_no_multiples_of_32(
    size: tuple[int, int], same: bool
) -> None:
    once = build(TINY, align_corners=False).eval()
    twice = build(TINY.model_copy(update={"fuse_resize": "by_factor"}), align_corners=False).eval()
    twice.load_state_dict(once.state_dict())
    images = torch.randn(1, 3, *size)
    with torch.no_grad():
        pairs = list(zip(once(images), twice(images), strict=True))
    assert all(a.shape == b.shape for a, b in pairs)
    assert all(torch.equal(a, b) for a, b in pairs) == same


def test_align_corners_decides_how_branches_are_fused() -> None:
    off, on = build(TINY, align_corners=False).eval(), build(TINY, align_corners=True).eval()
    on.load_state_dict(off.state_dict())
    images = torch.randn(1, 3, 64, 64)
    assert not torch.allclose(off(images)[0], on(images)[0])


def test_every_parameter_receives_a_gradient_and_momentum_reaches_every_norm() -> None:
    options = TINY.model_copy(update={"bn_momentum": 0.01})
    network = build(options, align_corners=True)
    sum(layer.square().mean() for layer in network(torch.randn(2, 3, 64, 64))).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())
    assert {m.momentum for m in network.modules() if isinstance(m, nn.BatchNorm2d)} == {0.01}


def test_the_network_of_cfns_public_code() -> None:
    """Finest branch at the images' resolution, 1,541,060 parameters with its head, everything N(0, 0.001)."""
    spec = {
        "backbone": {
            "name": "hrnetv2",
            "width": 16,
            "modules": (1, 1, 1),
            "blocks_per_branch": 2,
            "stem_strides": (1, 1),
            "stage1_blocks": 1,
            "stage1_width": 32,
            "bn_momentum": 0.01,
            "init_std": 0.001,
        },
        "decoder": {"name": "concat", "head": "conv1x1", "bn_momentum": 0.01, "init_std": 0.001},
    }
    torch.manual_seed(0)
    network = build_segmentor(ModelSpec.model_validate(spec), num_classes=20).eval()
    assert sum(p.numel() for p in network.parameters()) == 1_541_060
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            assert module.weight.std().item() == pytest.approx(0.001, rel=0.1)
    assert network.layer_strides == (1, 2, 4, 8)
    output = network(torch.randn(1, 3, 33, 46))
    assert output.logits.shape == (1, 20, 33, 46)
    assert [tuple(layer.shape[-2:]) for layer in output.layers] == [(33, 46), (17, 23), (9, 12), (5, 6)]
