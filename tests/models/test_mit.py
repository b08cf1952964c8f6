"""Mix Transformers against the paper's formulas in slow loops, with what each code makes of them."""

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor, nn

from segbench.models.backbones.drop_path import DropPath
from segbench.models.backbones.mit.network import Attention, MiT, build
from segbench.models.backbones.mit.options import Options
from tests.models.random_weights import randomise

SHAPE = {"widths": (8, 16, 24, 32), "depths": (1, 2, 1, 2), "heads": (1, 2, 3, 4)}
# Blocks and stages, then patch embeddings and reduced maps, as measured on each code.
EPSILONS = {"nv": (1e-6, 1e-5), "hf": (1e-5, 1e-5), "mmseg": (1e-6, 1e-6), "cfn": (1e-5, 1e-5)}


def _tiny(variant: str = "nv", *, drop_path: float = 0.0) -> MiT:
    options = Options.model_validate({**SHAPE, "variant": variant, "drop_path": drop_path})
    network = build(options, align_corners=False)
    assert isinstance(network, MiT)
    return network


def _slow_mit(images: Tensor, state: dict[str, Tensor], *, variant: str) -> list[Tensor]:
    """Section 3.1 for (N, 3, H, W) images; tokens are (N, h, w, c)."""
    block_eps, embed_eps = EPSILONS[variant]

    def norm(x: Tensor, name: str, eps: float) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + eps).sqrt()
        return scaled * state[f"{name}.weight"] + state[f"{name}.bias"]

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def conv(x: Tensor, name: str, *, stride: int, padding: int, groups: int = 1) -> Tensor:
        x = x.permute(0, 3, 1, 2)
        x = F.conv2d(x, state[f"{name}.weight"], state.get(f"{name}.bias"), stride, padding, groups=groups)
        return x.permute(0, 2, 3, 1)

    def attend(x: Tensor, name: str, *, heads: int, reduction: int) -> Tensor:
        context = x
        if reduction > 1 or variant == "cfn":
            context = norm(conv(x, f"{name}.sr", stride=reduction, padding=0), f"{name}.norm", embed_eps)
        query = linear(x, f"{name}.q").flatten(1, 2)
        key, value = linear(context, f"{name}.kv").flatten(1, 2).chunk(2, dim=-1)
        size = x.shape[-1] // heads
        parts = []
        for head in range(heads):
            own = slice(head * size, (head + 1) * size)
            scores = query[..., own] @ key[..., own].transpose(1, 2) / size**0.5
            parts.append(scores.softmax(-1) @ value[..., own])
        return linear(torch.cat(parts, -1), f"{name}.proj").reshape(x.shape)

    def mix(x: Tensor, name: str) -> Tensor:
        x = linear(x, f"{name}.fc1")
        x = conv(x, f"{name}.dwconv.dwconv", stride=1, padding=1, groups=x.shape[-1])
        return linear(x * 0.5 * (1 + torch.erf(x / 2**0.5)), f"{name}.fc2")

    outputs, x = [], images.permute(0, 2, 3, 1)
    for stage, (kernel, stride, reduction) in enumerate(((7, 4, 8), (3, 2, 4), (3, 2, 2), (3, 2, 1)), start=1):
        x = conv(x, f"patch_embed{stage}.proj", stride=stride, padding=kernel // 2)
        x = norm(x, f"patch_embed{stage}.norm", embed_eps)
        for number in range(SHAPE["depths"][stage - 1]):
            name, heads = f"block{stage}.{number}", SHAPE["heads"][stage - 1]
            x = x + attend(norm(x, f"{name}.norm1", block_eps), f"{name}.attn", heads=heads, reduction=reduction)
            x = x + mix(norm(x, f"{name}.norm2", block_eps), f"{name}.mlp")
        x = norm(x, f"norm{stage}", block_eps)
        outputs.append(x.permute(0, 3, 1, 2))
    return outputs


@pytest.mark.parametrize("variant", EPSILONS)
def test_is_the_definition_at_any_size(variant: str) -> None:
    network = randomise(_tiny(variant)).double()
    for size in ((129, 257), (45, 60)):
        images = 0.01 * torch.randn(2, 3, *size, dtype=torch.float64)  # faint, so that epsilons are felt
        with torch.no_grad():
            expected = _slow_mit(images, network.state_dict(), variant=variant)
            for layer, other in zip(network(images), expected, strict=True):
                torch.testing.assert_close(layer, other, rtol=1e-8, atol=1e-9)


def test_variants_differ_by_their_epsilons() -> None:
    images = 0.01 * torch.randn(1, 3, 64, 64, dtype=torch.float64)
    outputs = {}
    for variant in ("nv", "hf", "mmseg"):
        network = randomise(_tiny(variant)).double()
        outputs[variant] = network(images)[-1]
    for one, other in (("nv", "hf"), ("nv", "mmseg"), ("hf", "mmseg")):
        assert (outputs[one] - outputs[other]).abs().max() > 1e-7


def test_attention_of_cfn_is_that_of_pytorch() -> None:
    """Its code has `torch.nn.MultiheadAttention` of the tokens to the reduced ones, and so its initial weights."""
    torch.manual_seed(0)
    ours = Attention(12, 3, reduction=2, always_reduce=True, eps=1e-5)
    ours.start_as_pytorch()
    theirs = nn.MultiheadAttention(12, 3, batch_first=True)
    stacked = torch.cat([ours.q.weight, ours.kv.weight])
    assert stacked.abs().max() <= theirs.in_proj_weight.abs().max() * 1.1  # both uniform within (6 / 48) ** 0.5
    assert stacked.std().item() == pytest.approx(theirs.in_proj_weight.std().item(), rel=0.1)
    assert not any(layer.bias.any() for layer in (ours.q, ours.kv, ours.proj))
    theirs.load_state_dict(
        {
            "in_proj_weight": stacked,
            "in_proj_bias": torch.cat([ours.q.bias, ours.kv.bias]),
            "out_proj.weight": ours.proj.weight,
            "out_proj.bias": ours.proj.bias,
        }
    )
    x = torch.randn(2, 6, 4, 12)
    assert ours.sr is not None
    context = ours.norm(ours.sr(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)).flatten(1, 2)
    expected = theirs(x.flatten(1, 2), context, context)[0].reshape(x.shape)
    torch.testing.assert_close(ours(x), expected)


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (90, 120)])
@pytest.mark.parametrize("variant", ["nv", "cfn"])
def test_any_input_size_gives_strides_rounded_up(size: tuple[int, int], variant: str) -> None:
    network = _tiny(variant).eval()
    layers = network(torch.randn(1, 3, *size).contiguous(memory_format=torch.channels_last))
    for layer, channels, stride in zip(layers, network.layer_channels, network.layer_strides, strict=True):
        assert layer.shape == (1, channels, -(-size[0] // stride), -(-size[1] // stride))


@pytest.mark.parametrize("variant", ["nv", "cfn"])
def test_training_step_reaches_every_parameter_under_autocast(variant: str) -> None:
    torch.manual_seed(0)
    network = _tiny(variant).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        layers = network(torch.randn(1, 3, 130, 90))
    sum((layer * torch.randn_like(layer)).sum() for layer in layers).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


def test_branches_are_skipped_by_image_or_of_cfn_by_batch_and_in_its_feed_forward_networks_alone() -> None:
    images = torch.randn(1, 3, 32, 32).expand(4, -1, -1, -1)
    for variant, of in (("nv", "images"), ("cfn", "batch")):
        network = _tiny(variant, drop_path=0.5)
        skips = [module for module in network.modules() if isinstance(module, DropPath)]
        assert [module.probability for module in skips] == pytest.approx([0.1 * number for number in range(6)])
        assert {module.of for module in skips} == {of}
        torch.manual_seed(1)
        output = network.train()(images)[-1]
        alike = [torch.allclose(output[0], other, atol=1e-5) for other in output[1:]]
        assert all(alike) == (of == "batch")
        network.eval()
        assert torch.equal(network(images)[-1], network(images)[-1])
    block = _tiny("cfn", drop_path=1 - 1e-6).train().get_submodule("block4.1")
    x = torch.randn(2, 3, 4, 32)
    torch.testing.assert_close(block(x), x + block.attn(block.norm1(x)))


def test_initial_weights() -> None:
    torch.manual_seed(0)
    network = build(Options(widths=(32, 64, 64, 64), heads=(1, 1, 1, 1), depths=(1, 1, 1, 1)), align_corners=False)
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear):
            assert module.weight.std().item() == pytest.approx(0.02, rel=0.1), name
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * module.kernel_size[0] ** 2 / module.groups
            assert module.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.1), name
        if isinstance(module, nn.Linear | nn.Conv2d):
            assert not module.bias.any(), name


def test_options_and_labels() -> None:
    assert Options(size="b5").label() == "MiT-B5"
    assert Options(variant="cfn").label() == "MiT-CFN"
    assert Options(variant="cfn", widths=(64, 128, 256, 512)).label() == "MiT-CFN"
    assert Options(widths=(8, 16, 24, 32), heads=(1, 2, 3, 4)).label() == "MiT-B0-small"
    with pytest.raises(ValidationError, match="160 channels do not divide among 3 heads"):
        Options(heads=(1, 2, 3, 8))
    with pytest.raises(ValidationError, match="patch_sizes must be odd"):
        Options(patch_sizes=(7, 3, 3, 2))
