"""Activations computed again: the same numbers to the last bit, less memory, nothing else changed."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from segbench.core import registry
from segbench.core.errors import UsageFault
from segbench.core.spec import StageSpec
from segbench.engine.recompute import checkpoint_activations, pieces
from segbench.engine.runtime import Runtime, choose_runtime
from segbench.metrics.footprint import count_saved
from segbench.models.scheduled import tell_progress
from tests.engine.tiny import BACKBONE, last, same, stage, stopped, train
from tests.metrics.allocated import held_bytes

SMALL: dict[str, dict[str, Any]] = {
    "hrnetv2": BACKBONE,
    "mit": {"size": "b0", "drop_path": 0.5},
    "swin": {"embed": 8, "depths": [2, 2, 2, 2], "heads": [1, 2, 2, 4], "window": 4, "drop_path": 0.5},
    "resnet": {"width": 0.25, "blocks": [2, 3, 3, 2], "stem": "deep-narrow"},
    "xception71": {"width": 0.125, "middle_blocks": 1},
    "auto-deeplab": {"filters": 4, "stem_channels": 8, "drop_path": 0.5},
}
RECOMPUTING = Runtime(workers=0, checkpoint_activations=True, checkpoint_seconds=1e9)


def backbone(name: str) -> nn.Module:
    """A small network, always with the same weights; stochastic depth where it has that."""
    torch.manual_seed(0)
    options = registry.options_of("backbone", name).model_validate(SMALL.get(name, {"width": 0.25}))
    network: nn.Module = registry.implementation("backbone", name, "network").build(options, align_corners=False)
    tell_progress(network, 1.0)
    return network.train()


def trained_once(network: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Outputs, gradients and buffers after one forward and backward pass with the same draws."""
    torch.manual_seed(1)
    layers = network(images)
    sum(layer.square().mean() for layer in layers).backward()
    found = {f"layer {number}": layer.detach() for number, layer in enumerate(layers)}
    found |= {f"gradient of {name}": p.grad for name, p in network.named_parameters() if p.grad is not None}
    return found | dict(network.named_buffers())


@pytest.mark.parametrize("name", registry.names("backbone"))
def test_gradients_and_statistics_are_equal(name: str) -> None:
    images = torch.randn(2, 3, 32, 64)
    plain, recomputing = backbone(name), backbone(name)
    names = list(recomputing.state_dict())
    checkpoint_activations(recomputing)
    assert pieces(plain), "every backbone has pieces"
    assert list(recomputing.state_dict()) == names
    expected, found = trained_once(plain, images), trained_once(recomputing, images)
    assert found.keys() == expected.keys()
    assert sum(key.startswith("gradient") for key in found) == len(list(plain.parameters()))
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=1e-6, atol=1e-6, msg=key)
        if key.endswith(("running_mean", "running_var", "num_batches_tracked")):
            assert torch.equal(found[key], value), "the second pass must not count"


def test_pieces_lie_side_by_side() -> None:
    for name in registry.names("backbone"):
        with torch.device("meta"):
            found = pieces(backbone(name))
        inner = [module for piece in found for module in piece.modules()]
        assert len({id(module) for module in inner}) == len(inner), "none inside another, none twice"


@pytest.mark.parametrize("name", ["hrnetv2", "resnet", "mit"])
def test_it_saves_memory(name: str) -> None:
    """Held by the allocator after a forward pass, less what comes out of it."""
    images = torch.randn(2, 3, 64, 96)
    network = backbone(name)
    given = sum(layer.untyped_storage().nbytes() for layer in network(images))
    whole = held_bytes(lambda: network(images)) - given
    with torch.device("meta"):
        shapes, image = backbone(name), torch.empty(*images.shape)
    owned = [*shapes.parameters(), *shapes.buffers()]
    counted = count_saved(lambda: shapes(image), owned=owned, pieces=pieces(shapes))
    checkpoint_activations(network)
    left = held_bytes(lambda: network(images)) - given
    assert left < 0.5 * whole
    assert left < 1.02 * counted.checkpointed, "what is counted by shapes is the most of several moments, this one too"
    assert counted.checkpointed < 0.8 * counted.everything


def test_nothing_is_computed_again_where_no_gradient_is_wanted() -> None:
    network = backbone("resnet")
    calls = []
    first = pieces(network)[0]
    next(module for module in first.modules() if isinstance(module, nn.Conv2d)).register_forward_hook(
        lambda *_: calls.append(1)
    )
    checkpoint_activations(network)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        network(images)
    network.eval()(images)[-1].sum().backward()
    assert len(calls) == 2
    network.train()(torch.randn(2, 3, 64, 64))[-1].sum().backward()
    assert len(calls) == 4


@pytest.mark.parametrize("method", ["supervised", "contextrast"])
def test_a_training_is_the_same(method: str, tmp_path: Path, straight: Any) -> None:
    """Dropout in the decoder comes after the pieces, so that its draws would show any difference before it."""
    spec: StageSpec = stage(method)
    summary = train(spec, tmp_path, runtime=RECOMPUTING)
    assert same(last(tmp_path), last(straight(spec)))
    assert summary.steps == spec.schedule.steps


def test_a_run_may_go_on_with_it(tmp_path: Path, straight: Any) -> None:
    spec = stage("supervised")
    stopped(spec, tmp_path, 3)
    train(spec, tmp_path, runtime=RECOMPUTING)
    assert same(last(tmp_path), last(straight(spec)))


def test_it_is_recorded() -> None:
    assert RECOMPUTING.describe()["checkpoint_activations"] is True
    assert Runtime().describe()["checkpoint_activations"] is False


def test_it_does_not_go_with_compiling() -> None:
    assert choose_runtime("cpu", checkpoint_activations=True).checkpoint_activations
    with pytest.raises(UsageFault, match="cannot be combined with") as caught:
        choose_runtime("cpu", compile=True, checkpoint_activations=True)
    assert caught.value.next == "the same command with --no-compile"
