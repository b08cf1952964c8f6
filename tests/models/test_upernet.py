"""UPerNet on Swin against Hugging Face's network, the published cost, and what its options change."""

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor, nn

from segbench.core.spec import ModelSpec
from segbench.methods.heads import ProjectionHeads
from segbench.metrics.cost import count_cost
from segbench.models.decoders.upernet.network import UPerNet
from segbench.models.decoders.upernet.options import Options
from segbench.models.labels import model_label
from segbench.models.segmentor import Segmentor, build_segmentor
from tests.models import hf_names
from tests.models.random_weights import randomise

SWIN = {"name": "swin", "embed": 6, "depths": (2, 2, 2, 1), "heads": (1, 2, 3, 4), "drop_path": 0.0}
HRNET = {
    "name": "hrnetv2",
    "width": 4,
    "modules": (1, 1, 1),
    "blocks_per_branch": 1,
    "stem_channels": 8,
    "stage1_blocks": 1,
    "stage1_width": 4,
}
WIDTH = 8


def _network(backbone: dict[str, object] = SWIN, *, align_corners: bool = False, **decoder: object) -> Segmentor:
    options = {"name": "upernet", "channels": WIDTH, "aux_channels": 4, **decoder}
    spec = {"backbone": backbone, "decoder": options, "align_corners": align_corners}
    return build_segmentor(ModelSpec.model_validate(spec), num_classes=5)


def _unit(x: Tensor, layers: nn.Module) -> Tensor:
    """Convolution, batch norm by running statistics and ReLU, written out."""
    conv, norm = layers.get_submodule("conv"), layers.get_submodule("norm")
    x = F.conv2d(x, conv.weight, padding="same")
    scale = norm.weight / (norm.running_var + 1e-5).sqrt()
    x = (x - norm.running_mean[:, None, None]) * scale[:, None, None] + norm.bias[:, None, None]
    return x.clamp(min=0)


def test_logits_are_those_of_hugging_face() -> None:
    transformers = pytest.importorskip("transformers", minversion="5.23")
    swin = transformers.SwinConfig(
        embed_dim=6,
        depths=[2, 2, 2, 1],
        num_heads=[1, 2, 3, 4],
        drop_path_rate=0.0,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = transformers.UperNetConfig(
        backbone_config=swin, hidden_size=WIDTH, auxiliary_channels=4, auxiliary_in_channels=24, num_labels=5
    )
    theirs = randomise(transformers.UperNetForSemanticSegmentation(config))
    ours = _network().eval()
    ours.load_state_dict(hf_names.upernet_swin(theirs.state_dict()), strict=True)
    for size in ((129, 257), (90, 120), (32, 32)):
        images = torch.randn(1, 3, *size)
        with torch.no_grad():
            expected = theirs(images).logits
            got = ours(images)
            assert (ours.resize(got.logits, size) - expected).abs().max() <= 1e-4 * expected.abs().max()
            maps = theirs.backbone(images).feature_maps
            for layer, other in zip(got.layers, maps, strict=True):
                assert (layer - other).abs().max() <= 1e-4 * other.abs().max()
            aux = ours.decoder.get_submodule("auxiliary")(got.layers[2])
            torch.testing.assert_close(aux, theirs.auxiliary_head(maps), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("align_corners", [False, True])
def test_pyramid_is_the_written_formula(align_corners: bool) -> None:
    """Section 3.1: pooled map on top; each level is its lateral and the level above, resized, then smoothed."""
    network = randomise(_network(contrast_layers="fpn", align_corners=align_corners)).double()
    decoder = network.decoder
    assert isinstance(decoder, UPerNet)

    def up(x: Tensor, like: Tensor) -> Tensor:
        return F.interpolate(x, like.shape[-2:], mode="bilinear", align_corners=align_corners)

    with torch.no_grad():
        images = torch.randn(1, 3, 90, 120, dtype=torch.float64)
        layers = network.backbone(images)
        output = network(images)
        top = layers[-1]
        branches = zip((1, 2, 3, 6), decoder.pooling.branches, strict=True)
        pooled = [_unit(F.adaptive_avg_pool2d(top, bins), branch) for bins, branch in branches]
        above = _unit(torch.cat([top, *(up(x, top) for x in pooled)], 1), decoder.bottleneck)
        expected = [above]
        for index in (2, 1, 0):
            above = _unit(layers[index], decoder.lateral[index]) + up(above, layers[index])
            expected.insert(0, _unit(above, decoder.smooth[index]))
        fused = _unit(torch.cat([up(x, expected[0]) for x in expected], 1), decoder.fuse)
    for a, b in zip(output.layers, expected, strict=True):
        torch.testing.assert_close(a, b)
    torch.testing.assert_close(output.embedding, fused)
    classifier = decoder.classifier
    torch.testing.assert_close(output.logits, F.conv2d(fused, classifier.weight, classifier.bias))


def test_contrast_layers_decide_what_a_method_sees_and_nothing_else() -> None:
    own, pyramid = _network().eval(), _network(contrast_layers="fpn").eval()
    pyramid.load_state_dict(own.state_dict(), strict=True)
    images = torch.randn(1, 3, 65, 90)
    a, b = own(images), pyramid(images)
    torch.testing.assert_close(a.logits, b.logits)
    assert own.layer_channels == (6, 12, 24, 48)
    assert pyramid.layer_channels == (WIDTH,) * 4
    for network, output in ((own, a), (pyramid, b)):
        assert network.layer_strides == (4, 8, 16, 32)
        assert tuple(layer.shape[1] for layer in output.layers) == network.layer_channels
        for layer, stride in zip(output.layers, network.layer_strides, strict=True):
            assert layer.shape[-2:] == (-(-65 // stride), -(-90 // stride))
        heads = ProjectionHeads(network.layer_channels, (1, 2, 3, 4), dim=3)
        assert {number: x.shape[1] for number, x in heads(output.layers).items()} == dict.fromkeys((1, 2, 3, 4), 3)


@pytest.mark.parametrize(("aux_layer", "size"), [(-2, (5, 6)), (-1, (3, 3))])
def test_auxiliary_logits_are_of_their_layer_and_in_training_alone(aux_layer: int, size: tuple[int, int]) -> None:
    network = _network(aux_layer=aux_layer)
    images = torch.randn(2, 3, 65, 90)
    assert network.train()(images).aux["aux"].shape == (2, 5, *size)
    assert network.eval()(images).aux == {}
    assert _network(auxiliary=False).train()(images).aux == {}


@pytest.mark.parametrize("backbone", [SWIN, HRNET])
def test_training_step_reaches_every_parameter_under_autocast(backbone: dict[str, object]) -> None:
    torch.manual_seed(0)
    network = _network(backbone, contrast_layers="fpn").train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = network(torch.randn(2, 3, 90, 120).contiguous(memory_format=torch.channels_last))
    terms = [output.logits, output.aux["aux"], *output.layers]
    sum((x * torch.randn_like(x)).sum() for x in terms).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


def test_evaluation_is_deterministic_and_training_drops_channels() -> None:
    network = _network(dropout=0.5)
    images = torch.randn(2, 3, 64, 64)
    dropped = (network.train()(images).embedding == 0).flatten(2).all(-1)
    assert dropped.any()
    assert torch.equal(network.eval()(images).logits, network(images).logits)


def test_initial_weights() -> None:
    torch.manual_seed(0)
    decoder = _network(channels=64, aux_channels=64).decoder
    for name, module in decoder.named_modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * module.kernel_size[0] ** 2
            wanted = 0.01 if name.endswith("classifier") else (2 / fan_out) ** 0.5
            assert module.weight.std().item() == pytest.approx(wanted, rel=0.15), name
            assert module.bias is None or not module.bias.any()


def test_cost_is_the_published_one() -> None:
    """60 M and 945 G of the authors' table, which is 512 x 2048 with ADE20K's 150 classes: twice 512 x 1024."""
    spec = ModelSpec.model_validate({"backbone": "swin", "decoder": "upernet"})
    with torch.device("meta"):
        network = build_segmentor(spec, num_classes=150)
    for size, giga in (((512, 512), "236.9"), ((512, 1024), "472.7")):
        cost = count_cost(network, size)
        assert f"{cost.parameters / 1e6:.3f}" == "59.942"
        assert f"{cost.flops / 2e9:.1f}" == giga
    assert round(2 * cost.flops / 2e9) == 945


def test_options_and_labels() -> None:
    spec = {"backbone": "swin", "decoder": "upernet"}
    assert model_label(ModelSpec.model_validate(spec)) == "Swin-T (UPerNet)"
    assert Options(bins=(1, 2)).label() == "UPerNet, bins 1-2"
    with pytest.raises(ValidationError):
        Options.model_validate({"contrast_layers": "decoder"})


def test_compiles_to_one_graph() -> None:
    network = _network(contrast_layers="fpn").eval()
    images = torch.randn(1, 3, 45, 61)
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(images).logits, network(images).logits)
