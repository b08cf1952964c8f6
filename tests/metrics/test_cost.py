"""Cost counting against hand-computed modules and the figures of Contextrast, Table 7."""

import pytest
import torch
from torch import Tensor, nn

from segbench.core.spec import Choice, ModelSpec
from segbench.metrics.cost import count_cost
from segbench.metrics.rules import COST_RULES
from segbench.models.segmentor import Segmentor, build_segmentor


class Everything(nn.Module):
    """One of every counted kind, a layer used twice, and kinds that count nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.grouped = nn.Conv2d(8, 8, (3, 1), padding=(1, 0), groups=4, bias=False)
        self.plain_norm = nn.BatchNorm2d(8, affine=False)
        self.layer_norm = nn.LayerNorm(8)
        self.linear = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.conv(x)))
        x = self.plain_norm(self.grouped(self.grouped(x)))
        x = nn.functional.interpolate(x, scale_factor=2)
        return self.linear(self.layer_norm(x.mean((2, 3))))


class WithHeads(nn.Module):
    """A segmentor with one more head on each of its layers, as training runs them."""

    def __init__(self, segmentor: Segmentor, heads: list[nn.Module]) -> None:
        super().__init__()
        self.segmentor = segmentor
        self.heads = nn.ModuleList(heads)

    def forward(self, images: Tensor) -> list[Tensor]:
        layers = self.segmentor(images).layers
        return [head(layer) for head, layer in zip(self.heads, layers, strict=True)]


def test_hand_computed_module() -> None:
    cost = count_cost(Everything(), (10, 12))  # after the convolution 5 x 6
    pixels = 5 * 6
    conv = pixels * 8 * 3 * 9
    grouped = pixels * 8 * 2 * 3
    linear = 8 * 5
    assert cost.multiply_adds == conv + 4 * pixels * 8 + 2 * grouped + 2 * pixels * 8 + 4 * 8 + linear
    assert cost.flops == 2 * (conv + 2 * grouped + linear)
    assert cost.parameters == (3 * 8 * 9 + 8) + 16 + 8 * 2 * 3 + 16 + (8 * 5 + 5)
    outputs = 5 * pixels * 8 + 8 + 5  # conv, norm, grouped twice, plain norm; layer norm; linear
    assert cost.activation_bytes == 4 * outputs
    assert cost.rule == "thop"


def test_the_module_itself_is_not_changed() -> None:
    module = Everything().train()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    count_cost(module, (10, 12))
    assert module.training
    assert not module.conv._forward_hooks
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


def test_tied_parameters_count_once() -> None:
    a, b = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
    b.weight = a.weight
    assert count_cost(nn.Sequential(a, b), (4, 4)).parameters == 9 + 3 + 3


def test_unknown_rule() -> None:
    with pytest.raises(KeyError):
        count_cost(nn.Identity(), (4, 4), rule="nobody's")
    assert all(rule.sentence.endswith(".") and rule.name == name for name, rule in COST_RULES.items())


def test_figures_of_contextrast_table_7() -> None:
    """70.01 M and 1295.86 G; with the four projection heads 70.39 M and 1300.13 G (1024 x 2048, 19 classes)."""

    def figures(module: nn.Module) -> tuple[str, str]:
        cost = count_cost(module, (1024, 2048))
        return f"{cost.parameters / 1e6:.2f}", f"{cost.multiply_adds / 1e9:.2f}"

    def head(channels: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.ReLU(),
            nn.BatchNorm2d(channels),
            nn.Conv2d(channels, 256, 1),
        )

    with torch.device("meta"):
        spec = ModelSpec(backbone=Choice(name="hrnetv2"), decoder=Choice(name="concat"), align_corners=True)
        segmentor: Segmentor = build_segmentor(spec, num_classes=19)
    assert figures(segmentor) == ("70.01", "1295.86")
    with torch.device("meta"):
        training = WithHeads(segmentor, [head(channels) for channels in segmentor.layer_channels])
    assert figures(training) == ("70.39", "1300.13")
