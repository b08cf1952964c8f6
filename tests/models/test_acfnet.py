"""ACFNet's decoder against the written formulas: class centres and attention pixel by pixel."""

import math

import pytest
import torch
from torch import Tensor

from segbench.core.spec import Choice, ModelSpec
from segbench.models.decoders.acfnet.network import build, class_attention, class_centres
from segbench.models.decoders.acfnet.options import Options
from segbench.models.segmentor import Decoder, build_segmentor
from tests.models.by_hand import Dilated, close, conv, normalise, randomised, unit

CLASSES = 4


def decoder_of(**options: object) -> Decoder:
    torch.manual_seed(0)
    small = {"rates": (2, 3), "channels": 4, "center_channels": 5, "fine_channels": 6, "aux_channels": 4}
    return build(Options(**{**small, **options}), backbone=Dilated(), num_classes=CLASSES, align_corners=True)


def example(size: tuple[int, int] = (3, 5)) -> tuple[Tensor, Tensor]:
    """Coarse logits (2, 4, h, w) and features (2, 5, h, w)."""
    torch.manual_seed(1)
    return torch.randn(2, CLASSES, *size, dtype=torch.float64), torch.randn(2, 5, *size, dtype=torch.float64)


def probabilities(logits: Tensor) -> list[list[float]]:
    """P of one image's logits (C, h, w): for every pixel the shares of the classes."""
    rows = []
    for scores in logits.flatten(1).T.tolist():
        total = sum(math.exp(score - max(scores)) for score in scores)
        rows.append([math.exp(score - max(scores)) / total for score in scores])
    return rows


def by_loops(logits: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
    """Centres (N, c, C) and the pixels' mixtures of them (N, c, h, w)."""
    all_centres, all_mixtures = [], []
    for scores, maps in zip(logits, features, strict=True):
        shares, pixels = probabilities(scores), maps.flatten(1)
        centres = []
        for k in range(CLASSES):
            weighted, total = torch.zeros(len(maps), dtype=maps.dtype), 0.0
            for i, share in enumerate(shares):
                weighted, total = weighted + share[k] * pixels[:, i], total + share[k]
            centres.append(weighted / total)
        mixtures = [sum(share[k] * centres[k] for k in range(CLASSES)) for share in shares]
        all_centres.append(torch.stack(centres, 1))
        all_mixtures.append(torch.stack(mixtures, 1).view_as(maps))
    return torch.stack(all_centres), torch.stack(all_mixtures)


@pytest.mark.parametrize("size", [(3, 5), (1, 1), (4, 4)])
def test_centres_and_attention_are_the_formulas(size: tuple[int, int]) -> None:
    logits, features = example(size)
    centres, mixtures = by_loops(logits, features)
    close(class_centres(logits, features), centres)
    close(class_attention(logits, centres), mixtures)


def test_the_centre_of_a_certain_class_is_the_mean_of_its_pixels() -> None:
    """Pixels 0 and 2 are of class 1, pixel 1 of class 0; nobody is of class 2, whose centre is finite all the same."""
    logits = torch.full((1, 3, 1, 3), -1e4)
    logits[0, 1, 0, [0, 2]] = logits[0, 0, 0, 1] = 1e4
    features = torch.tensor([1.0, 10.0, 5.0]).view(1, 1, 1, 3).requires_grad_()
    centres = class_centres(logits.requires_grad_(), features)
    assert centres[0, 0, :2].tolist() == [10.0, 3.0] and 1 <= centres[0, 0, 2].item() <= 10
    mixtures = class_attention(logits, centres)
    assert mixtures.flatten().tolist() == [3.0, 10.0, 3.0]
    mixtures.sum().backward()
    assert logits.grad is not None and logits.grad.isfinite().all()
    assert features.grad is not None and features.grad.flatten().tolist() == [1.0, 1.0, 1.0]


def test_names_of_classes_do_not_matter() -> None:
    logits, features = example()
    order = torch.tensor([2, 0, 3, 1])
    renamed = logits[:, order]
    centres = class_centres(logits, features)
    close(class_centres(renamed, features), centres[:, :, order])
    close(class_attention(renamed, centres[:, :, order]), class_attention(logits, centres))


def test_a_certain_image_is_described_by_nothing_but_its_centres() -> None:
    """Where every pixel is sure, its mixture is the centre of its class: it no longer depends on the pixel."""
    logits, features = example()
    mixtures = class_attention(1e5 * logits, class_centres(1e5 * logits, features))
    winners = logits.argmax(1)
    for image in range(2):
        for label in winners[image].unique():
            inside = winners[image] == label
            mean = features[image][:, inside].mean(1, keepdim=True)
            close(mixtures[image][:, inside], mean.expand(-1, int(inside.sum())))


def test_gradient_is_the_difference_quotient() -> None:
    def context(logits: Tensor, features: Tensor) -> Tensor:
        return class_attention(logits, class_centres(logits, features))

    logits, features = (tensor[:1].requires_grad_() for tensor in example((2, 2)))
    assert torch.autograd.gradcheck(context, (logits, features))


@pytest.mark.parametrize("size", [(5, 7), (1, 2)])
@torch.no_grad()
def test_decoder_is_the_written_formula(size: tuple[int, int]) -> None:
    decoder = randomised(decoder_of()).eval()
    x = torch.randn(2, 8, *size, dtype=torch.float64)
    aspp = decoder.aspp
    maps = [unit(x, aspp.branches[0])]
    maps += [unit(x, branch, rate=rate) for branch, rate in zip(aspp.branches[1:], (2, 3), strict=True)]
    pooled = unit(x.mean((2, 3), keepdim=True), aspp.pooling)
    features = torch.cat([*maps, pooled * torch.ones(*size, dtype=x.dtype)], 1)
    coarse = conv(unit(unit(features, decoder.coarse[0]), decoder.coarse[2]), decoder.coarse[4])
    _, mixtures = by_loops(coarse, unit(features, decoder.reduce[0]))
    beside = torch.cat([conv(mixtures, decoder.attend), features], 1)
    fine = normalise(conv(beside, decoder.fine.conv), decoder.fine.norm)
    fine = torch.where(fine > 0, fine, 0.01 * fine)
    logits, embedding, aux, *_ = decoder((x,), (0, 0))
    assert set(aux) == {"coarse"}
    close(aux["coarse"], coarse)
    close(embedding, fine)
    close(logits, conv(fine, decoder.classifier))


def test_parameters_follow_from_the_widths() -> None:
    """Every layer by hand: kernel * inputs * outputs, and two numbers for each channel of a norm."""
    encoder = {"name": "resnet", "depth": 101, "stem": "deep", "output_stride": 8}
    spec = ModelSpec(backbone=Choice.model_validate(encoder), decoder=Choice(name="acfnet"))
    with torch.device("meta"):
        network = build_segmentor(spec, num_classes=19)
    aspp = 2 * (2048 * 512 + 2 * 512) + 3 * (9 * 2048 * 512 + 2 * 512)
    coarse = 2560 * 512 + 9 * 512 * 512 + 4 * 512 + 512 * 19 + 19
    centres = 2560 * 512 + 2 * 512 + 512 * 512 + 512
    fine = 9 * 3072 * 1024 + 2 * 1024 + 1024 * 19 + 19
    auxiliary = 9 * 1024 * 256 + 2 * 256 + 256 * 19 + 19
    ours = sum(parameter.numel() for parameter in network.decoder.parameters())
    assert ours == aspp + coarse + centres + fine + auxiliary
    encoder_alone = sum(parameter.numel() for parameter in network.backbone.parameters())
    assert f"{encoder_alone / 1e6:.2f}" == "42.62"


def test_what_trains_and_what_evaluation_leaves_out() -> None:
    decoder = decoder_of().train()
    layers = tuple(torch.randn(2, width, 5, 6) for width in Dilated().layer_channels)
    logits, embedding, aux, *_ = decoder(layers, (0, 0))
    assert set(aux) == {"coarse", "aux"} and embedding.shape == (2, 6, 5, 6)
    assert aux["aux"].shape == aux["coarse"].shape == logits.shape == (2, CLASSES, 5, 6)
    logits.square().sum().backward(retain_graph=True)
    assert decoder.coarse[4].weight.grad.any(), "the final logits alone train the coarse head"
    sum(each.square().sum() for each in aux.values()).backward()
    for name, parameter in decoder.named_parameters():
        assert parameter.grad is not None and parameter.grad.any() and parameter.grad.isfinite().all(), name
    decoder.eval()
    first, second = (decoder(layers, (0, 0)) for _ in range(2))
    assert torch.equal(first[0], second[0]) and set(first[2]) == {"coarse"}


def test_dropouts_and_norms_are_the_options() -> None:
    options = {"coarse_dropout": (0.4, 0.3), "center_dropout": 0.25, "fine_dropout": 0.15, "aux_dropout": 0.05}
    decoder = decoder_of(**options, bn_momentum=0.02, bn_eps=1e-3)
    shares = [module.p for module in decoder.modules() if isinstance(module, torch.nn.Dropout2d)]
    assert sorted(shares) == [0.05, 0.15, 0.25, 0.3, 0.4]
    norms = [module for module in decoder.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert len(norms) == 9 and {(norm.momentum, norm.eps) for norm in norms} == {(0.02, 1e-3)}


@pytest.mark.parametrize("scale", [0.0, 1e4])
@pytest.mark.parametrize("half", [False, True])
def test_extreme_layers_stay_finite(scale: float, half: bool) -> None:
    decoder = decoder_of().eval()  # with running statistics nothing tames the size
    x = (scale * torch.randn(2, 8, 5, 6)).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
        logits, _, aux, *_ = decoder((x,), (0, 0))
    (logits.float().sum() + aux["coarse"].float().sum()).backward()
    assert logits.isfinite().all() and x.grad is not None and x.grad.isfinite().all()
