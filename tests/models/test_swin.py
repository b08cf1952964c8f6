"""Swin Transformer against the definition in slow loops, and against timm's network where the two must agree."""

from typing import Literal

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from timm.models.swin_transformer import SwinTransformer as TimmSwin
from torch import Tensor, nn

from segbench.checkpoints.backbone_weights import published_weights
from segbench.checkpoints.loading import load_strictly
from segbench.core.spec import Choice
from segbench.models.backbones.drop_path import DropPath
from segbench.models.backbones.swin.network import Swin, build
from segbench.models.backbones.swin.options import Options
from tests.models.random_weights import randomise

TINY = Options(embed=6, depths=(2, 2, 3, 2), heads=(1, 2, 3, 4), drop_path=0.5)


def _tiny() -> Swin:
    network = build(TINY, align_corners=False)
    assert isinstance(network, Swin)
    return network


def _slow_attention(x: Tensor, state: dict[str, Tensor], block: str, *, heads: int, window: int, shift: int) -> Tensor:
    """Section 3.2 without windows, masks or shifts: each token attends to those that share its shifted window.

    The padded map is divided by lines at ``shift``, ``shift + window`` and so on; what lies before the first line is
    a window of its own, and so is what the padding leaves after the last. ``x`` is (h, w, c).
    """
    height, width, channels = x.shape
    x = F.pad(x, (0, 0, 0, -width % window, 0, -height % window))
    table = state[f"{block}.attn.relative_position_bias_table"]
    groups: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for row in range(x.shape[0]):
        for column in range(x.shape[1]):
            groups.setdefault(((row - shift) // window, (column - shift) // window), []).append((row, column))
    result = torch.zeros_like(x)
    for places in groups.values():
        where = torch.tensor(places)
        tokens = x[where[:, 0], where[:, 1]]
        query, key, value = F.linear(tokens, state[f"{block}.attn.qkv.weight"], state[f"{block}.attn.qkv.bias"]).chunk(
            3, dim=-1
        )
        apart = where[:, None] - where[None] + window - 1
        bias = table[apart[..., 0] * (2 * window - 1) + apart[..., 1]]
        size = channels // heads
        parts = []
        for head in range(heads):
            own = slice(head * size, (head + 1) * size)
            scores = query[:, own] @ key[:, own].T / size**0.5 + bias[..., head]
            parts.append(scores.softmax(-1) @ value[:, own])
        attended = torch.cat(parts, dim=-1)
        result[where[:, 0], where[:, 1]] = F.linear(
            attended, state[f"{block}.attn.proj.weight"], state[f"{block}.attn.proj.bias"]
        )
    return result[:height, :width]


def _slow_swin(image: Tensor, state: dict[str, Tensor], options: Options) -> list[Tensor]:
    """The four outputs (c, h, w) for one image (3, H, W)."""

    def norm(x: Tensor, name: str) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        return scaled * state[f"{name}.weight"] + state[f"{name}.bias"]

    _, height, width = image.shape
    image = F.pad(image, (0, -width % 4, 0, -height % 4))
    patches = image.unfold(1, 4, 4).unfold(2, 4, 4).permute(1, 2, 0, 3, 4).flatten(2)
    x = patches @ state["patch_embed.proj.weight"].flatten(1).T + state["patch_embed.proj.bias"]
    x = norm(x, "patch_embed.norm")
    outputs = []
    for stage, (depth, heads) in enumerate(zip(*options.shape()[1:], strict=True)):
        for number in range(depth):
            block = f"layers.{stage}.blocks.{number}"
            shift = options.window // 2 if number % 2 else 0
            y = norm(x, f"{block}.norm1")
            x = x + _slow_attention(y, state, block, heads=heads, window=options.window, shift=shift)
            y = F.linear(norm(x, f"{block}.norm2"), state[f"{block}.mlp.fc1.weight"], state[f"{block}.mlp.fc1.bias"])
            y = y * 0.5 * (1 + torch.erf(y / 2**0.5))
            x = x + F.linear(y, state[f"{block}.mlp.fc2.weight"], state[f"{block}.mlp.fc2.bias"])
        outputs.append(norm(x, f"norm{stage}").permute(2, 0, 1))
        if stage < 3:
            x = F.pad(x, (0, 0, 0, x.shape[1] % 2, 0, x.shape[0] % 2))
            x = torch.cat([x[0::2, 0::2], x[1::2, 0::2], x[0::2, 1::2], x[1::2, 1::2]], dim=-1)
            x = norm(x, f"layers.{stage}.downsample.norm") @ state[f"layers.{stage}.downsample.reduction.weight"].T
    return outputs


@pytest.mark.parametrize("size", [(129, 257), (32, 45)])
def test_is_the_definition_at_any_size(size: tuple[int, int]) -> None:
    network = randomise(_tiny()).double()
    images = torch.randn(2, 3, *size, dtype=torch.float64)
    with torch.no_grad():
        got = network(images)
        expected = [_slow_swin(image, network.state_dict(), TINY) for image in images]
    for number, layer in enumerate(got):
        for image, outputs in enumerate(expected):
            torch.testing.assert_close(layer[image], outputs[number], rtol=1e-6, atol=1e-8)


def _with_timm(size: tuple[int, int]) -> tuple[Swin, nn.Module]:
    """timm's network with random weights for images of ``size``, and ours with the same."""
    theirs = TimmSwin(img_size=size, embed_dim=6, depths=(2, 2, 3, 2), num_heads=(1, 2, 3, 4), num_classes=0)
    randomise(theirs)
    published = published_weights(Choice(name="swin"), weights="imagenet")
    state = {published.renamed(name): tensor for name, tensor in theirs.state_dict().items()}
    ours = _tiny().eval()
    load_strictly(ours, state, source="timm", drop=published.drop, fresh=published.fresh)
    return ours, theirs


def _normed_outputs(theirs: nn.Module, images: Tensor) -> list[Tensor]:
    """What timm's stages give, after a layer norm that the classifier does not have."""
    outputs = theirs.forward_intermediates(images, intermediates_only=True)  # type: ignore[operator]
    return [F.layer_norm(x.permute(0, 2, 3, 1), x.shape[1:2]).permute(0, 3, 1, 2) for x in outputs]


def test_equals_timm_where_windows_fit() -> None:
    ours, theirs = _with_timm((448, 672))
    images = torch.randn(1, 3, 448, 672)
    with torch.no_grad():
        for a, b in zip(ours(images), _normed_outputs(theirs, images), strict=True):
            assert (a - b).abs().max() <= 1e-5 * b.abs().max()


def test_shifts_even_where_one_window_covers_the_map_and_timm_does_not() -> None:
    ours, theirs = _with_timm((224, 224))
    images = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        pairs = zip(ours(images), _normed_outputs(theirs, images), strict=True)
        apart = [(a - b).abs().max() for a, b in pairs]
    assert max(apart[:3]) < 1e-4
    assert apart[3] > 0.01


@pytest.mark.parametrize("size", [(32, 32), (45, 61), (90, 120)])
def test_any_input_size_gives_strides_rounded_up(size: tuple[int, int]) -> None:
    network = _tiny().eval()
    layers = network(torch.randn(1, 3, *size))
    for layer, channels, stride in zip(layers, network.layer_channels, network.layer_strides, strict=True):
        assert layer.shape == (1, channels, -(-size[0] // stride), -(-size[1] // stride))


def test_memory_format_and_batch_change_nothing() -> None:
    network = randomise(_tiny())
    images = torch.randn(3, 3, 65, 40)
    with torch.no_grad():
        expected = network(images)
        other = network(images.contiguous(memory_format=torch.channels_last))
        alone = network(images[1:2])
    for a, b, c in zip(expected, other, alone, strict=True):
        torch.testing.assert_close(b, a)
        torch.testing.assert_close(c, a[1:2])


def test_training_step_reaches_every_parameter_under_autocast() -> None:
    torch.manual_seed(0)
    network = build(TINY.model_copy(update={"drop_path": 0.0}), align_corners=False)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        layers = network(torch.randn(1, 3, 130, 90))
    sum((layer * torch.randn_like(layer)).sum() for layer in layers).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


def test_whole_branches_are_skipped_in_training_alone_more_often_in_deeper_blocks() -> None:
    network = _tiny()
    rates = [module.probability for module in network.modules() if isinstance(module, DropPath)]
    assert rates == pytest.approx([0.5 * number / 8 for number in range(9)])
    images = torch.randn(1, 3, 32, 32).expand(2, -1, -1, -1)
    torch.manual_seed(3)
    trained = network.train()(images)[-1]
    assert not torch.equal(trained[0], trained[1])  # each image by its own draw
    network.eval()
    assert torch.equal(network(images)[-1], network(images)[-1])


@pytest.mark.parametrize("of", ["images", "batch"])
def test_drop_path_keeps_the_mean(of: Literal["images", "batch"]) -> None:
    """What is kept is divided by the probability of keeping; the draws are one for each image, or one in all."""
    torch.manual_seed(0)
    layer = DropPath(0.2, of=of)
    x = torch.ones(4, 2, 3, 5)
    drawn = torch.stack([layer(x) for _ in range(2000)])
    assert set(drawn.unique().tolist()) == {0.0, 1.25}
    assert drawn.mean().item() == pytest.approx(1, abs=0.05)
    assert drawn.flatten(2).std(2).max() == 0
    assert (drawn[:, 0, 0, 0, 0] == drawn[:, 1, 0, 0, 0]).all() == (of == "batch")
    assert layer.eval()(x) is x


def test_initial_weights() -> None:
    torch.manual_seed(0)
    network = build(Options(embed=48, depths=(1, 1, 1, 1), heads=(1, 2, 3, 4)), align_corners=False)
    for module in network.modules():
        if isinstance(module, nn.Linear):
            assert module.weight.std().item() == pytest.approx(0.02, rel=0.1)
            assert module.bias is None or not module.bias.any()
        if isinstance(module, nn.LayerNorm):
            assert module.weight.eq(1).all() and module.bias.eq(0).all()
    table = network.get_parameter("layers.3.blocks.0.attn.relative_position_bias_table")
    assert table.std().item() == pytest.approx(0.02, rel=0.15)


@pytest.mark.parametrize(
    ("size", "parameters"),
    [("tiny", 27_519_354), ("small", 48_837_258), ("base", 86_743_224)],
)
def test_parameters_are_those_of_the_classifiers_body(size: str, parameters: int) -> None:
    """timm's networks without their classifiers; the norm after the last stage is ``norm3`` here."""
    options = Options.model_validate({"size": size})
    with torch.device("meta"):
        network = build(options, align_corners=False)
    extra = sum(2 * width for width in network.layer_channels[:3])
    assert sum(p.numel() for p in network.parameters()) == parameters + extra


def test_options_and_labels() -> None:
    assert [Options.model_validate({"size": size}).label() for size in ("tiny", "small", "base")] == [
        "Swin-T",
        "Swin-S",
        "Swin-B",
    ]
    assert Options(drop_path=0.1).label() == "Swin-T"
    assert TINY.label() == "Swin-T-small"
    large = {"embed": 192, "depths": (2, 2, 18, 2), "heads": (6, 12, 24, 48)}
    assert Options.model_validate(large).label() == "Swin-L"
    assert Options.model_validate({**large, "window": 12}).label() == "Swin-L, windows of 12x12"
    assert Options(size="base", window=12).label() == "Swin-B, windows of 12x12"
    assert Options.model_validate({**large, "depths": (2, 2, 6, 2)}).label() == "Swin-T-small"
    with pytest.raises(ValidationError, match="100 channels of stage 1 do not divide among 3 heads"):
        Options(embed=100)
