"""Auto-DeepLab's encoder against the published sizes and against the cell's table written out in float64."""

from collections.abc import Callable, Iterator
from itertools import count
from math import prod
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor, nn

from segbench.core.spec import Choice, ModelSpec
from segbench.metrics.cost import count_cost
from segbench.models.backbones.auto_deeplab.network import AutoDeepLab, build
from segbench.models.backbones.auto_deeplab.options import Options
from segbench.models.scheduled import tell_progress
from segbench.models.segmentor import Segmentor, build_segmentor
from segbench.recipe.catalog import default_catalog
from segbench.recipe.resolve import Request, resolve
from tests.models.by_hand import bilinear
from tests.models.random_weights import randomise

TINY: dict[str, Any] = {"filters": 2, "stem_channels": 4, "path": [0, 1, 0]}
# Left and right operation of each new state, with the state that they read (the paper's figure 3).
TABLE = """
2: atrous 5x5 (1), separable 3x3 (0)
3: separable 3x3 (1), atrous 3x3 (0)
4: separable 3x3 (3), separable 3x3 (1)
5: separable 5x5 (4), separable 5x5 (2)
6: separable 5x5 (3), atrous 5x5 (5)
"""
Drop = Callable[[Tensor], Tensor]


def network_of(**options: Any) -> AutoDeepLab:
    network = build(Options.model_validate({**TINY, **options}), align_corners=True)
    assert isinstance(network, AutoDeepLab)
    return network


def segmentor_of(filters: int) -> Segmentor:
    """The row's network at some width, without memory."""
    found = resolve(default_catalog(), "contrastiveseg-table1", "auto-deeplab-l", "cityscapes", Request("full"))
    assert found.published.training is not None
    spec: ModelSpec = found.published.training.stages[-1].model
    backbone = Choice(name=spec.backbone.name, options={**spec.backbone.options, "filters": filters})
    with torch.device("meta"):
        return build_segmentor(spec.model_copy(update={"backbone": backbone}), num_classes=19).eval()


def test_both_readings_reach_the_network() -> None:
    readings = (("auto-deeplab-drop-path", "1.0"), ("auto-deeplab-rates", "6-12-18"))
    catalog, row = default_catalog(), ("contrastiveseg-table1", "auto-deeplab-l", "cityscapes")
    found = []
    for request in (Request("full"), Request("full", readings=readings)):
        training = resolve(catalog, *row, request).published.training
        assert training is not None
        spec: ModelSpec = training.stages[-1].model
        backbone, decoder = spec.backbone.options, spec.decoder.options  # without what is default
        found.append((backbone.get("drop_path", 0.0), tuple(decoder.get("rates", (6, 12, 18)))))
    assert found == [(0.2, (12, 24, 36)), (0.0, (6, 12, 18))]


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("filters", "millions"), [(20, 10.147), (32, 21.622), (48, 44.425)])
def test_parameters_are_those_of_the_papers_table(filters: int, millions: float) -> None:
    assert parameters(segmentor_of(filters)) / 1e6 == pytest.approx(millions, abs=5e-4)


def test_the_rows_encoder_and_its_multiply_adds() -> None:
    network = segmentor_of(48)
    assert parameters(network.backbone) / 1e6 == pytest.approx(39.223, abs=5e-4)
    assert count_cost(network, (1025, 2049)).flops / 2e9 == pytest.approx(662.4, abs=0.05)


def test_shapes_of_all_cells() -> None:
    network = segmentor_of(48).backbone
    assert isinstance(network, AutoDeepLab)
    shapes = []
    for module in (network.stem, network.stem_end, *network.cells):
        module.register_forward_hook(lambda _, inputs, output: shapes.append((output.shape[1], *output.shape[2:])))
    layers = network(torch.empty(1, 3, 129, 129, device="meta"))
    sides = [(64, 65), (128, 33), *[(240, 33)] * 3, (480, 17), (960, 9), (480, 17), *[(960, 9)] * 2]
    sides += [*[(1920, 5)] * 2, (960, 9), (480, 17)]
    assert shapes == [(channels, side, side) for channels, side in sides]
    assert [tuple(layer.shape) for layer in layers] == [(1, 240, 33, 33), (1, 480, 17, 17)]
    assert (network.layer_channels, network.layer_strides) == ((240, 480), (4, 8))


def plain(network: AutoDeepLab, images: Tensor, drop: Drop = lambda x: x) -> list[Tensor]:
    """Outputs of all cells in float64 from the table, the path and the weights by name; for sides of 32k + 1."""
    state = {name: tensor.double() for name, tensor in network.state_dict().items()}

    def norm(x: Tensor, name: str) -> Tensor:
        mean, var, weight, bias = (state[f"{name}.{key}"] for key in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, mean, var, weight, bias, eps=1e-3)

    def resized(x: Tensor, size: Any) -> Tensor:
        return bilinear(x, tuple(size), align_corners=True)

    def operation(text: str, x: Tensor, name: str, *, stride: int) -> Tensor:
        kind, kernel = text.split()
        side = int(kernel[0])
        if kind == "atrous":
            x, weight = x.clamp(min=0), state[f"{name}.conv.weight"]
            if stride == 2:
                x = resized(x, [(n + 1) // 2 for n in x.shape[2:]])
                return norm(F.conv2d(x, weight, padding=side // 2), f"{name}.norm")
            return norm(F.conv2d(x, weight, padding=side - 1, dilation=2), f"{name}.norm")
        for part in ("1", "2"):
            weight = state[f"{name}.depthwise{part}.weight"]
            x = F.conv2d(x.clamp(min=0), weight, stride=stride, padding=side // 2, groups=len(weight))
            x = norm(F.conv2d(x, state[f"{name}.pointwise{part}.weight"]), f"{name}.norm{part}")
            stride = 1
        return x

    x = F.conv2d(images.double(), state["stem.conv1.weight"], stride=2, padding=1)
    x = F.conv2d(norm(x, "stem.norm1").clamp(min=0), state["stem.conv2.weight"], padding=1)
    earlier = norm(x, "stem.norm2")
    x = F.conv2d(earlier.clamp(min=0), state["stem_end.conv.weight"], stride=2, padding=1)
    previous = norm(x, "stem_end.norm")
    found, at = [], 0
    for number, level in enumerate(network.path):
        name = f"cells.{number}"
        first = previous if level >= at else resized(previous, [2 * n - 1 for n in previous.shape[2:]])
        second = resized(earlier, first.shape[2:])
        weight = state[f"{name}.prepare.conv.weight"]
        states = [norm(F.conv2d(first.clamp(min=0), weight), f"{name}.prepare.norm")]
        if second.shape[1] != len(weight):
            weight = state[f"{name}.prepare_earlier.conv.weight"]
            second = norm(F.conv2d(second.clamp(min=0), weight), f"{name}.prepare_earlier.norm")
        states.append(second)
        for row, line in enumerate(TABLE.strip().splitlines()):
            pair = line.partition(": ")[2].split(", ")
            total = torch.zeros(())
            for side, each in zip(("left", "right"), pair, strict=True):
                text, read = each.rstrip(")").split(" (")
                stride = 2 if level > at and int(read) < 2 else 1
                place = f"{name}.{side}.{row}"
                total = total + drop(operation(text, states[int(read)], place, stride=stride))
            states.append(total)
        earlier, previous, at = previous, torch.cat(states[2:], 1), level
        found.append(previous)
    return found


def assert_close(got: Tensor, wanted: Tensor) -> None:
    assert got.shape == wanted.shape
    assert (got - wanted).abs().max() <= 1e-9 * wanted.abs().max()


def cells_of(network: AutoDeepLab, images: Tensor) -> tuple[list[Tensor], tuple[Tensor, ...]]:
    """Outputs of all cells, and the layers."""
    outputs: list[Tensor] = []
    for cell in network.cells:
        cell.register_forward_hook(lambda _, inputs, output: outputs.append(output))
    return outputs, network(images)


@pytest.mark.parametrize("stem_channels", [4, 2], ids=["prepared", "as it is"])  # with 2 the first cell's other input
def test_is_the_network_written_out(stem_channels: int) -> None:
    """Down cells, up cells and those that stay, also after one another, on an image that is not square."""
    network = network_of(stem_channels=stem_channels, path=[0, 0, 1, 2, 1, 1, 2, 3, 2, 1]).double()
    randomise(network)
    images = torch.randn(1, 3, 65, 97, dtype=torch.float64)
    wanted = plain(network, images)
    got, layers = cells_of(network, images)
    for a, b in zip(got, wanted, strict=True):
        assert_close(a, b)
    assert_close(layers[0], wanted[1])
    assert_close(layers[1], wanted[-1].clamp(min=0))
    assert layers[0].min() < 0 == layers[1].min()


def test_every_operations_output_may_be_dropped() -> None:
    """Outputs, not inputs or sums, and each by itself: the n-th is multiplied by a number of its own."""

    def counting() -> Drop:
        numbers: Iterator[int] = count(3)
        return lambda x: x * (1 + 1 / next(numbers))

    network = network_of(path=[0, 1]).double()
    randomise(network)
    drop = counting()
    for cell in network.cells:
        cell.drop_path.register_forward_hook(lambda _, inputs, output: drop(output))
    images = torch.randn(1, 3, 33, 65, dtype=torch.float64)
    for a, b in zip(cells_of(network, images)[0], plain(network, images, counting()), strict=True):
        assert_close(a, b)


def test_probabilities_grow_from_cell_to_cell_and_over_the_training() -> None:
    network = segmentor_of(20).backbone
    cells: Any = network.cells
    wanted = [0.2 * number / 12 for number in range(1, 13)]
    assert [cell.drop_path.probability for cell in cells] == pytest.approx(wanted)
    small = network_of(drop_path=0.4, path=[0, 1])
    assert [cell.drop_path.probability for cell in small.cells] == pytest.approx([0.2, 0.4])
    tell_progress(small, 0.25)
    assert [float(cell.drop_path.progress) for cell in small.cells] == [0.25, 0.25]


def test_dropping_happens_in_training_alone() -> None:
    network = network_of(drop_path=0.9)
    randomise(network)
    images = torch.randn(2, 3, 33, 33)
    tell_progress(network, 1.0)
    at_rest = network(images)[-1]
    assert torch.equal(network(images)[-1], at_rest)
    for cell in network.cells:
        cell.drop_path.train()
    assert not torch.equal(network(images)[-1], at_rest)
    tell_progress(network, 0.0)
    assert torch.equal(network(images)[-1], at_rest)


@pytest.mark.parametrize("size", [(32, 32), (45, 61), (129, 257), (360, 480), (1024, 2048)])
def test_any_input_size_gives_strides_rounded_up(size: tuple[int, int]) -> None:
    with torch.device("meta"):
        network = network_of(path=[0, 1, 2, 3, 2, 1]).eval()
        fine, coarse = network(torch.empty(1, 3, *size))
    assert fine.shape == (1, 10, -(-size[0] // 4), -(-size[1] // 4))
    assert coarse.shape == (1, 20, -(-size[0] // 8), -(-size[1] // 8))


def test_sizes_that_are_not_made_for_it_run_in_the_whole_network() -> None:
    spec = ModelSpec(
        backbone=Choice(name="auto-deeplab", options={**TINY, "path": [0, 1, 2, 1]}),
        decoder=Choice(name="deeplabv3plus", options={"channels": 4, "low_channels": 3}),
    )
    network = build_segmentor(spec, num_classes=5).eval()
    images = torch.randn(1, 3, 45, 61)
    logits = network(images).logits
    assert logits.shape == (1, 5, 12, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (network(images).logits - logits).abs().max() < 0.1 * logits.abs().max()


def test_every_parameter_receives_a_gradient_and_norms_are_deeplabs() -> None:
    network = network_of(path=[0, 0, 1, 2, 1])
    sum(layer.square().mean() for layer in network(torch.randn(2, 3, 65, 65))).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in network.parameters())
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 3e-4)}
    assert not any(name.endswith("progress") for name in network.state_dict())


def test_convolutions_start_uniform_over_all_channels_of_the_kernels_reach() -> None:
    """TensorFlow's fan-in is height * width * channels, whether or not a kernel reads them all."""
    torch.manual_seed(0)
    network = build(Options(filters=24, path=(0,)), align_corners=True)
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert any(conv.groups > 1 for conv in convolutions)
    for conv in convolutions:
        variance = 1 / (3 * conv.in_channels * prod(conv.kernel_size))
        assert conv.weight.abs().max() <= (3 * variance) ** 0.5
        assert conv.weight.detach().double().var().item() == pytest.approx(variance, rel=0.25)


def test_compiles_to_one_graph_whose_progress_may_change() -> None:
    network = network_of(drop_path=0.5, path=[0, 1])
    graphs = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(network, backend=backend, fullgraph=True)
    images = torch.randn(2, 3, 33, 33)
    for share in (0.0, 0.5, 1.0):
        tell_progress(network, share)
        compiled(images)
    assert len(graphs) == 1


def test_labels_and_paths() -> None:
    assert [Options(filters=filters).label()[-1] for filters in (20, 32, 48)] == ["S", "M", "L"]
    assert Options(filters=24).label() == Options(path=(0, 1)).label() == "Auto-DeepLab-small"
    for path in ((1, 1), (0, 2), (0, 1, 3), ()):
        with pytest.raises(ValidationError):
            Options(path=path)
    flat = build(Options(filters=2, path=(0, 0)), align_corners=True)
    assert (flat.layer_channels, flat.layer_strides) == ((10, 10), (4, 4))
