"""The DeepLab decoders against torchvision's head and the written formulas; which parts train, and how they start."""

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torchvision.models.segmentation.deeplabv3 import DeepLabHead

from segbench.core import registry
from segbench.core.errors import InvalidFault
from segbench.models.segmentor import Decoder
from tests.models.by_hand import Dilated, bilinear, close, conv, randomised, unit

TORCHVISION = {"dropout": 0.5, "dropout_of": "elements", "refine": "conv3x3_relu"}
CONTRASTIVESEG = {"channels": 6, "project_kernel": 3, "refine": "conv3x3", "rates": (2, 4)}
MMSEGMENTATION = {"channels": 6, "project_kernel": 3, "pooling_first": True, "dropout": 0.1, "rates": (2, 3)}


def build(name: str, *, align_corners: bool = True, num_classes: int = 4, **options: object) -> Decoder:
    torch.manual_seed(0)
    return registry.implementation("decoder", name, "network").build(
        registry.options_of("decoder", name)(**options),
        backbone=Dilated(),
        num_classes=num_classes,
        align_corners=align_corners,
    )


def layers(size: tuple[int, int] = (7, 9), *, images: int = 2) -> tuple[Tensor, ...]:
    """Layers of the fake backbone in float64: the finest about twice as large."""
    torch.manual_seed(1)
    sizes = [(2 * size[0] - 1, 2 * size[1] - 1), size, size, size]
    pairs = zip(Dilated().layer_channels, sizes, strict=True)
    return tuple(torch.randn(images, channels, *each, dtype=torch.float64) for channels, each in pairs)


def torchvision_names(decoder: nn.Module) -> dict[str, str]:
    """Our names of the head's tensors to torchvision's."""
    parts = {"aspp.pooling.conv": "0.convs.4.1", "aspp.pooling.norm": "0.convs.4.2"}
    parts |= {
        f"aspp.branches.{k}.{own}": f"0.convs.{k}.{n}" for k in range(4) for n, own in enumerate(("conv", "norm"))
    }
    parts |= {"aspp.project.conv": "0.project.0", "aspp.project.norm": "0.project.1"}
    parts |= {"refine.conv": "1", "refine.norm": "2", "classifier": "4"}
    names = {name: name.rpartition(".") for name in decoder.state_dict()}
    return {name: f"{parts[part]}.{tensor}" for name, (part, _, tensor) in names.items()}


@pytest.mark.parametrize("size", [(17, 33), (5, 8)])
@pytest.mark.parametrize("training", [False, True])
def test_deeplabv3_equals_torchvision(size: tuple[int, int], training: bool) -> None:
    ours = build("deeplabv3", **TORCHVISION)
    theirs = randomised(DeepLabHead(8, 4, (12, 24, 36)))
    names = torchvision_names(ours)
    assert set(names.values()) == set(theirs.state_dict())
    ours = ours.double()
    ours.load_state_dict({name: theirs.state_dict()[other] for name, other in names.items()})
    for network in (ours, theirs):
        network.train(training)
        for module in network.modules():
            if isinstance(module, nn.Dropout):
                assert module.p == 0.5
                module.p = 0.0
    x = layers(size)[-1]
    logits, embedding, aux, *_ = ours((x,), (0, 0))
    assert aux == {}
    close(logits, theirs(x))
    close(theirs[-1](embedding), logits)
    for name, other in names.items():
        close(ours.state_dict()[name].double(), theirs.state_dict()[other].double())


@pytest.mark.parametrize("options", [CONTRASTIVESEG, MMSEGMENTATION], ids=["contrastiveseg", "mmsegmentation"])
def test_deeplabv3_is_the_written_formula(options: dict[str, object]) -> None:
    decoder = randomised(build("deeplabv3", **options)).eval()
    x = layers()[-1]
    aspp = decoder.aspp
    maps = [unit(x, aspp.branches[0])]
    maps += [unit(x, branch, rate=rate) for branch, rate in zip(aspp.branches[1:], options["rates"], strict=True)]
    pooled = unit(x.mean((2, 3), keepdim=True), aspp.pooling) * torch.ones(7, 9, dtype=x.dtype)
    first = options is MMSEGMENTATION
    expected = unit(torch.cat([pooled, *maps] if first else [*maps, pooled], 1), aspp.project)
    if options is CONTRASTIVESEG:
        expected = unit(expected, decoder.refine, relu=False)
        assert (expected < 0).any()
    logits, embedding, *_ = decoder((x,), (0, 0))
    close(embedding, expected)
    close(logits, conv(expected, decoder.classifier))


@pytest.mark.parametrize(("branches", "summed"), [("released", 2), ("all", 4)])
def test_deeplabv2_is_a_sum_of_dilated_convolutions(branches: str, summed: int) -> None:
    decoder = build("deeplabv2", branches=branches).double().eval()
    x = layers()[-1]
    logits, embedding, aux, *_ = decoder((x,), (0, 0))
    parts = [conv(x, layer, rate=rate) for layer, rate in zip(decoder.branches, (6, 12, 18, 24), strict=True)]
    close(logits, sum(parts[1:summed], start=parts[0]))
    assert embedding is x and aux == {}


def test_deeplabv2_keeps_what_it_does_not_train() -> None:
    decoder = build("deeplabv2", num_classes=3)
    wanted = {
        f"branches.{k}.{kind}": ((3, 8, 3, 3) if kind == "weight" else (3,))
        for k in range(4)
        for kind in ("weight", "bias")
    }
    assert {name: tuple(tensor.shape) for name, tensor in decoder.state_dict().items()} == wanted
    decoder(tuple(x.float() for x in layers()), (0, 0))[0].sum().backward()
    trained = {name for name, parameter in decoder.named_parameters() if parameter.grad is not None}
    assert trained == {name for name, parameter in decoder.named_parameters() if parameter.requires_grad}
    assert trained == {f"branches.{k}.{kind}" for k in (0, 1) for kind in ("weight", "bias")}
    everything = build("deeplabv2", branches="all")
    assert all(parameter.requires_grad for parameter in everything.parameters())


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("separable", [False, True])
@pytest.mark.parametrize("image_pooling", [False, True])
def test_deeplabv3plus_is_the_written_formula(align_corners: bool, separable: bool, image_pooling: bool) -> None:
    options = {"separable": separable, "image_pooling": image_pooling, "channels": 6, "low_channels": 3}
    decoder = randomised(build("deeplabv3plus", align_corners=align_corners, rates=(2, 3), **options)).eval()
    low, *_, x = layers()

    def conv3x3(y: Tensor, part: nn.Module, *, rate: int = 1) -> Tensor:
        if not separable:
            return unit(y, part, rate=rate)
        return unit(unit(y, part.depthwise, rate=rate, depthwise=True), part.pointwise)

    aspp = decoder.aspp
    maps = [unit(x, aspp.branches[0])]
    maps += [conv3x3(x, branch, rate=rate) for branch, rate in zip(aspp.branches[1:], (2, 3), strict=True)]
    if image_pooling:
        maps.append(unit(x.mean((2, 3), keepdim=True), aspp.pooling) * torch.ones(7, 9, dtype=x.dtype))
    deep = bilinear(unit(torch.cat(maps, 1), aspp.project), (13, 17), align_corners=align_corners)
    expected = torch.cat([deep, unit(low, decoder.low)], 1)
    for part in decoder.fuse:
        expected = conv3x3(expected, part)
    logits, embedding, *_ = decoder((low, x), (0, 0))
    close(embedding, expected)
    close(logits, conv(expected, decoder.classifier))


def test_deeplabv3plus_shows_what_it_contrasts_before_the_last_dropout() -> None:
    maps = layers()
    decoder = build("deeplabv3plus", dropout=(0.0, 0.5)).double().train()
    first, second = decoder(maps, (0, 0)), decoder(maps, (0, 0))
    close(first[1], second[1])
    assert not torch.allclose(first[0], second[0])
    noisy = build("deeplabv3plus", dropout=(0.5, 0.0)).double().train()
    first, second = noisy(maps, (0, 0)), noisy(maps, (0, 0))
    assert not torch.allclose(first[1], second[1])
    close(first[0], noisy.classifier(first[1]))


def test_rates_may_differ_in_evaluation() -> None:
    """An encoder whose stride is halved for scoring wants all dilations doubled."""
    for separable in (False, True):
        switched = randomised(build("deeplabv3plus", eval_rates=(3, 4, 5), rates=(1, 2, 3), separable=separable))
        other = build("deeplabv3plus", rates=(3, 4, 5), separable=separable).double()
        other.load_state_dict(switched.state_dict())
        same = build("deeplabv3plus", rates=(1, 2, 3), separable=separable).double()
        same.load_state_dict(switched.state_dict())
        for _ in range(2):
            close(switched.eval()(layers(), (0, 0))[0], other.eval()(layers(), (0, 0))[0])
            for network in (switched, same):
                network.train()
                network.pyramid_dropout, network.dropout = nn.Identity(), nn.Identity()
            close(switched(layers(), (0, 0))[0], same(layers(), (0, 0))[0])
            other.load_state_dict(switched.state_dict())
    with pytest.raises(ValidationError, match="as many as"):
        build("deeplabv3plus", eval_rates=(12, 24))


@pytest.mark.parametrize("name", ["deeplabv3", "deeplabv3plus", "pspnet"])
def test_auxiliary_classifier(name: str) -> None:
    options = {"auxiliary": True, "aux_channels": 3, "aux_dropout": 0.5, "channels": 6}
    decoder = randomised(build(name, aux_layer=1, aux_bias=True, **options))
    x = layers()
    assert decoder.eval()(x, (0, 0))[2] == {}
    assert set(decoder.train()(x, (0, 0))[2]) == {"aux"}
    head = decoder.auxiliary.eval()
    logits = decoder(x, (0, 0))[2]["aux"]
    close(logits, conv(unit(x[1], head.conv), head.classifier))
    assert build(name, **options).auxiliary.conv.conv.in_channels == 7, "the last layer but one"
    assert build(name, **options).auxiliary.conv.conv.bias is None
    kind = nn.Dropout if name == "deeplabv3plus" else nn.Dropout2d
    assert type(head.dropout) is kind and head.dropout.p == 0.5
    with pytest.raises(InvalidFault, match="4 layers"):
        build(name, aux_layer=4, **options)
    assert build(name).auxiliary is None


def test_how_weights_start() -> None:
    def convolutions(name: str, **options: object) -> dict[str, nn.Conv2d]:
        found = build(name, **options).named_modules()
        return {path: module for path, module in found if isinstance(module, nn.Conv2d)}

    for path, layer in convolutions("deeplabv3plus").items():
        assert layer.weight.std().item() == pytest.approx(0.01, rel=0.25), path
    for layer in convolutions("deeplabv2").values():
        assert layer.weight.std().item() == pytest.approx(0.01, rel=0.25)
    for path, layer in convolutions("deeplabv3", init="kaiming", auxiliary=True, aux_bias=True).items():
        fan_in = layer.weight[0].numel()
        assert layer.weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.25), path
        assert layer.bias is None or not layer.bias.any()
    plain = convolutions("deeplabv3plus", init="torch")
    classifier_alone = convolutions("deeplabv3plus", init="normal_classifier")
    assert torch.equal(plain["low.conv"].weight, classifier_alone["low.conv"].weight)
    assert classifier_alone["classifier"].weight.std().item() == pytest.approx(0.01, rel=0.25)
    bound = 256**-0.5
    assert 0.9 * bound < plain["classifier"].weight.abs().max() <= bound
