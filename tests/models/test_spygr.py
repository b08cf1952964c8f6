"""SpyGR's decoder against the dense Laplacian, written with all pairs of pixels in float64."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from segbench.core.spec import Choice, ModelSpec
from segbench.models.decoders.spygr.network import build, laplacian_product
from segbench.models.decoders.spygr.options import Options
from segbench.models.segmentor import Decoder, build_segmentor
from tests.models.by_hand import Dilated, bilinear, close, conv, normalise, randomised, unit

SMALL = {"channels": 6, "basis": 3}


def decoder_of(*, align_corners: bool = True, **options: object) -> Decoder:
    torch.manual_seed(0)
    return build(Options(**{**SMALL, **options}), backbone=Dilated(), num_classes=4, align_corners=align_corners)


def dense_product(x: Tensor, phi: Tensor, attention: Tensor) -> Tensor:
    """L X of one image, pair of pixels by pair of pixels: x (c, n), phi (M, n), attention (M,)."""
    n = x.shape[1]
    similarity = torch.stack(
        [torch.stack([(phi[:, i] * attention * phi[:, j]).sum() for j in range(n)]) for i in range(n)]
    )
    degree = [similarity[i].sum() for i in range(n)]
    scale = [value**-0.5 if value > 0 else torch.zeros((), dtype=x.dtype) for value in degree]
    columns = []
    for i in range(n):
        column = x[:, i]
        for j in range(n):
            column = column - scale[i] * similarity[i, j] * scale[j] * x[:, j]
        columns.append(column)
    return torch.stack(columns, 1)


def graph(*, n: int = 7, alone: tuple[int, ...] = ()) -> list[Tensor]:
    """Features (2, 3, n), a basis (2, 4, n) in which some pixels are 0 throughout, and attention (2, 4)."""
    torch.manual_seed(1)
    phi = torch.randn(2, 4, n, dtype=torch.float64).relu() + 0.01
    phi[:, :, list(alone)] = 0
    tensors = [torch.randn(2, 3, n, dtype=torch.float64), phi, torch.rand(2, 4, dtype=torch.float64)]
    return [tensor.requires_grad_() for tensor in tensors]


@pytest.mark.parametrize("alone", [(), (0, 4), (0, 1, 2, 3, 4, 5, 6)], ids=["all joined", "two alone", "all alone"])
def test_factored_is_dense(alone: tuple[int, ...]) -> None:
    inputs = graph(alone=alone)
    expected = torch.stack([dense_product(*image) for image in zip(*inputs, strict=True)])
    got = laplacian_product(*inputs)
    close(got, expected)
    assert torch.equal(got[:, :, list(alone)], inputs[0][:, :, list(alone)]), "a pixel without any stays as it is"
    weights = torch.randn_like(got)
    found = torch.autograd.grad((got * weights).sum(), inputs)
    wanted = torch.autograd.grad((expected * weights).sum(), inputs, allow_unused=True)
    joined = [pixel for pixel in range(7) if pixel not in alone]
    close(found[0], wanted[0])
    close(found[1][..., joined], wanted[1][..., joined])
    close(found[2], wanted[2])
    assert found[1].isfinite().all()


def test_gradient_is_the_difference_quotient() -> None:
    assert torch.autograd.gradcheck(laplacian_product, graph(n=5))


def test_the_root_of_the_degrees_is_what_it_takes_away() -> None:
    """L D^(1/2) 1 = D^(1/2) 1 - D^(-1/2) A 1 = 0, whatever the graph."""
    _, phi, attention = graph()
    degree = torch.einsum("nmi,nm,nmj->ni", phi, attention, phi)
    close(laplacian_product(degree.sqrt()[:, None], phi, attention), torch.zeros(2, 1, 7, dtype=torch.float64))


class _Largest(TorchDispatchMode):
    """Remembers how large the largest tensor was that anything gave."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        out = func(*args, **(kwargs or {}))
        self.numel = max(self.numel, out.numel() if isinstance(out, Tensor) else 0)
        return out


def test_nothing_is_as_large_as_all_pairs() -> None:
    inputs = graph(n=400)
    with _Largest() as seen:
        laplacian_product(*inputs).sum().backward()
    assert 2 * 4 * 400 <= seen.numel < 400 * 400 / 10


def test_tiny_and_huge_graphs_have_finite_gradients() -> None:
    for scale in (1e-30, 1e-12, 1e12):
        x, phi, attention = (tensor.detach().float().requires_grad_() for tensor in graph())
        got = laplacian_product(x, phi * scale, attention)
        got.sum().backward()
        assert got.isfinite().all()
        assert all(tensor.grad is not None and tensor.grad.isfinite().all() for tensor in (x, phi, attention))


def halved(x: Tensor) -> Tensor:
    """The largest of each 2x2 pixels; at an odd end, of those that there are."""
    height, width = x.shape[-2:]
    rows = [
        torch.stack([x[..., i : i + 2, j : j + 2].amax((-2, -1)) for j in range(0, width, 2)], -1)
        for i in range(0, height, 2)
    ]
    return torch.stack(rows, -2)


def reasoned(x: Tensor, level: nn.Module) -> Tensor:
    phi = conv(x, level.basis).clamp(min=0).flatten(2)
    logits = x.mean((2, 3)) @ level.attention.weight.T + level.attention.bias
    attention = 1 / (1 + (-logits).exp())
    products = [dense_product(*image) for image in zip(x.flatten(2), phi, attention, strict=True)]
    y = torch.stack(products).view_as(x)
    return normalise(torch.einsum("oc,nchw->nohw", level.theta.conv.weight[:, :, 0, 0], y), level.theta.norm).clamp(0)


@pytest.mark.parametrize("size", [(5, 7), (4, 4), (1, 3)])
@pytest.mark.parametrize("options", [{}, {"levels": 3, "basis_kernel": 3}, {"levels": 1}], ids=["4", "3, 3x3", "1"])
@pytest.mark.parametrize("align_corners", [False, True])
@torch.no_grad()
def test_decoder_is_the_written_formula(size: tuple[int, int], options: dict[str, int], align_corners: bool) -> None:
    decoder = randomised(decoder_of(align_corners=align_corners, **options)).eval()
    x = torch.randn(2, 8, *size, dtype=torch.float64)
    maps = [unit(x, decoder.neck)]
    for _ in range(len(decoder.levels) - 1):
        maps.append(halved(maps[-1]))
    assert len(maps) == options.get("levels", 4)
    total = torch.zeros(2, 6, 1, 1, dtype=torch.float64)
    for number in reversed(range(len(maps))):
        finer = tuple(maps[number].shape[-2:])
        total = bilinear(total, finer, align_corners=align_corners) + reasoned(maps[number], decoder.levels[number])
    logits, embedding, aux, *_ = decoder((x,), (0, 0))
    close(embedding, total)
    close(logits, conv(total, decoder.classifier))
    assert aux == {}


def test_parameters_are_the_dossiers() -> None:
    """42.50 M of the encoder, 9.44 M of the neck, four levels of 0.33 M each and the classifier: 53.26 M."""
    backbone = Choice(name="resnet", options={"depth": 101, "stem": "conv7x7", "output_stride": 8})
    options = {"channels": 512, "basis": 64, "levels": 4, "basis_kernel": 1, "dropout": 0.1, "bn_momentum": 3e-4}

    def count(**more: object) -> int:
        spec = ModelSpec(backbone=backbone, decoder=Choice(name="spygr", options={**options, **more}))
        with torch.device("meta"):
            network = build_segmentor(spec, num_classes=19)
        return sum(parameter.numel() for parameter in network.parameters())

    assert f"{count() / 1e6:.2f}" == "53.26"
    level = 2 * (512 * 64 + 64) + 512 * 512 + 2 * 512
    assert count() - count(levels=3) == level
    assert count(auxiliary=True) - count() == 1024 * 256 * 9 + 2 * 256 + 256 * 19 + 19


def test_whole_channels_are_dropped_in_training_only() -> None:
    """The classifier gets each channel of an image not at all, or divided by what is kept; never in evaluation."""
    dropping, whole = decoder_of(dropout=0.25).double().train(), decoder_of(dropout=0.0).double().train()
    whole.load_state_dict(dropping.state_dict())
    x = torch.randn(8, Dilated().layer_channels[-1], 5, 6, dtype=torch.float64)
    expected = whole((x,), (0, 0))[1]
    shares = []
    for _ in range(20):
        logits, embedding, *_ = dropping((x,), (0, 0))
        kept = embedding.flatten(2).any(-1)
        close(embedding, expected * kept[:, :, None, None] / 0.75)
        close(logits, conv(embedding, dropping.classifier))
        shares.append(kept.double().mean().item())
    assert 0.68 < sum(shares) / 20 < 0.82  # of 960 draws, whose share strays by 0.014
    for decoder in (dropping, whole):
        decoder.eval()
    whole.load_state_dict(dropping.state_dict())
    close(dropping((x,), (0, 0))[1], whole((x,), (0, 0))[1])


def test_auxiliary_logits_in_training_only_and_every_parameter_learns() -> None:
    decoder = decoder_of(auxiliary=True, aux_channels=4).train()
    layers = tuple(torch.randn(2, width, 5, 6) for width in Dilated().layer_channels)
    logits, _, aux, *_ = decoder(layers, (0, 0))
    assert set(aux) == {"aux"} and aux["aux"].shape == logits.shape == (2, 4, 5, 6)
    (logits.square().sum() + aux["aux"].square().sum()).backward()
    for name, parameter in decoder.named_parameters():
        assert parameter.grad is not None and parameter.grad.any() and parameter.grad.isfinite().all(), name
    decoder.eval()
    first, second = (decoder(layers, (0, 0)) for _ in range(2))
    assert torch.equal(first[0], second[0]) and first[2] == {}


@pytest.mark.parametrize("scale", [0.0, 1e4])
@pytest.mark.parametrize("half", [False, True])
def test_extreme_layers_stay_finite(scale: float, half: bool) -> None:
    decoder = decoder_of().train()
    for level in decoder.levels:
        nn.init.constant_(level.basis.bias, -math.inf if scale == 0 else 0)  # no pixel is like any other
    x = (scale * torch.randn(2, 8, 5, 6)).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
        logits = decoder((x,), (0, 0))[0]
    logits.float().square().sum().backward()
    assert logits.isfinite().all() and x.grad is not None and x.grad.isfinite().all()


def test_half_precision_is_near() -> None:
    decoder = decoder_of().eval()
    x = torch.randn(2, 8, 9, 9)
    with torch.no_grad():
        exact = decoder((x,), (0, 0))[0]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            near = decoder((x,), (0, 0))[0]
    assert (near.float() - exact).abs().max() < 0.05 * exact.abs().max()
