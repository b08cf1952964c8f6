"""Bytes counted by shapes against hand-computed ones, and against what the allocator gave away for real tensors."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segbench.core.spec import Choice, ModelSpec
from segbench.metrics.footprint import SavedBytes, count_peak, count_saved, emulate_autocast
from segbench.models.segmentor import Segmentor, build_segmentor
from tests.metrics.allocated import held_bytes

IMAGES = (2, 3, 32, 64)
SMALL = {"width": 4, "modules": [1, 1, 1], "blocks_per_branch": 1, "stem_channels": 8, "stage1_blocks": 1}
MODELS = {
    "hrnetv2": (SMALL, Choice(name="concat")),
    "resnet": ({"width": 0.125, "blocks": [1, 1, 1, 1]}, Choice(name="deeplabv3", options={"channels": 16})),
    "mobilenetv2": ({"width": 0.25}, Choice(name="deeplabv3plus", options={"channels": 16, "low_channels": 8})),
}


def kept(network: nn.Module, *size: int, dtype: torch.dtype = torch.float32, pieces: Any = ()) -> SavedBytes:
    """Of a network on the meta device."""
    emulate_autocast([network], dtype)
    image = torch.empty(*size, device="meta")
    owned = [*network.parameters(), *network.buffers()]
    return count_saved(lambda: network(image), owned=owned, pieces=pieces)


def small(name: str, device: str) -> Segmentor:
    options, decoder = MODELS[name]
    spec = ModelSpec(backbone=Choice(name=name, options=options), decoder=decoder)
    with torch.device(device):
        return build_segmentor(spec, num_classes=5).train()


def outputs(result: Any) -> int:
    """Bytes of a network's outputs, each storage once."""
    found = [result.logits, result.embedding, *result.layers, *result.aux.values()]
    return sum({tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in found}.values())


def test_hand_computed_network() -> None:
    with torch.device("meta"):
        network = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1)
        )
    image, maps, statistics = 4 * 2 * 3 * 80, 4 * 2 * 4 * 80, 4 * 2 * 4
    found = kept(network, 2, 3, 8, 10)
    # The image, what the normalisation reads with its mean and deviation, and what the ReLU gives the last convolution.
    assert found.everything == image + maps + statistics + maps
    assert found.largest == maps
    assert found.checkpointed == found.everything
    # While the ReLU works, the normalisation's output lives beside its own.
    assert found.transient == maps


def test_a_tensor_changed_in_place_or_looked_at_counts_once() -> None:
    class InPlace(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y = F.relu(x * 2, inplace=True)
            return y.view(-1).sigmoid().view_as(y) * y.flatten(0).view_as(y)

    assert kept(InPlace(), 4, 5).everything == 0, "nothing needs a gradient"
    with torch.device("meta"):
        network = nn.Sequential(nn.Linear(5, 5, bias=False), InPlace())
    # The input, the ReLU's result (three times) and the sigmoid's.
    assert kept(network, 4, 5).everything == 3 * 4 * 20


@pytest.mark.parametrize("name", MODELS)
def test_kept_is_what_the_allocator_does_not_get_back(name: str) -> None:
    """The network, with real tensors on the CPU: whatever stays allocated after the forward pass."""
    torch.manual_seed(0)
    network = small(name, "cpu")
    image = torch.randn(*IMAGES)
    held = held_bytes(lambda: network(image))
    given = outputs(network(image))
    found = kept(small(name, "meta"), *IMAGES).everything
    # Outputs that are kept too are in both; the image was there before.
    assert held - given <= found - 4 * image.numel() <= held
    assert found > 0.8 * held


@pytest.mark.parametrize("name", MODELS)
def test_low_precision_keeps_what_autocast_keeps(name: str) -> None:
    """CPU autocast, by its saved tensors: its lists are those of CUDA for what these networks do."""
    network, image = small(name, "cpu"), torch.randn(*IMAGES)
    owned = {tensor.untyped_storage().data_ptr() for tensor in [*network.parameters(), *network.buffers()]}
    storages: dict[int, tuple[int, Tensor]] = {}

    def pack(tensor: Tensor) -> Tensor:
        place = tensor.untyped_storage().data_ptr()
        if place and place not in owned:
            storages[place] = (tensor.untyped_storage().nbytes(), tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), torch.autocast("cpu", torch.bfloat16):
        network(image)
    real = sum(count for count, _ in storages.values())
    found = kept(small(name, "meta"), *IMAGES, dtype=torch.bfloat16).everything
    assert found == pytest.approx(real, rel=0.03)


def test_pieces_that_are_computed_again_keep_their_inputs() -> None:
    """Three equal pieces of two sigmoids each, and a head that is no piece."""

    class Piece(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.sigmoid().sigmoid()

    with torch.device("meta"):
        first, last = nn.Linear(10, 10, bias=False), nn.Linear(10, 10, bias=False)
    pieces = [Piece(), Piece(), Piece()]
    network = nn.Sequential(first, *pieces, last)
    one = 4 * 3 * 10
    found = kept(network, 3, 10, pieces=pieces)
    # The input, two results of each piece (the last is what the head keeps).
    assert found.everything == one * (1 + 6)
    # The input and three inputs of pieces; the head's is let go before the last piece has its two results again.
    assert found.checkpointed == one * (1 + 3 + 2)


def test_attention_keeps_no_scores() -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv = nn.Linear(8, 24, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            query, key, value = self.qkv(x).view(1, 2, 100, 3, 4).unbind(3)
            return F.scaled_dot_product_attention(query, key, value)

    with torch.device("meta"):
        network = Attention()
    tokens, sums = 4 * 100 * 8, 4 * 2 * 100
    # The input, queries with keys and values as one storage, the result, and a sum for each row of scores.
    assert kept(network, 1, 100, 8).everything == tokens + 3 * tokens + tokens + sums


def test_peak_by_hand() -> None:
    x = torch.empty(25, device="meta")

    def run() -> Tensor:
        first = x + 1  # 100 bytes
        second = torch.cat([first, first, first])  # 300 more, 400 together
        del first
        return second[:30] * 2 + second.sum()  # 120, 4 and 120 more

    assert count_peak(run) == 300 + 120 + 4 + 120
    assert count_peak(lambda: x.mul_(2).view(5, 5)) == 0, "nothing new"


def test_the_peak_of_a_network_is_below_all_and_above_the_largest() -> None:
    network = small("resnet", "meta").eval()
    image = torch.empty(*IMAGES, device="meta")
    sizes = []
    for module in network.modules():
        if next(module.children(), None) is None:
            module.register_forward_hook(lambda _module, _inputs, out: sizes.append(4 * out.numel()))
    peak = count_peak(lambda: network(image))
    assert 2 * max(sizes) <= peak < sum(sizes) / 2


def test_sequences_are_convolved_in_low_precision_too() -> None:
    """Weights and biases of a 1-D convolution are cast like those of a 2-D one."""
    with torch.device("meta"):
        network, sequence = nn.Conv1d(4, 8, 3), torch.empty(2, 4, 16)
    emulate_autocast([network], torch.bfloat16)
    assert network(sequence).dtype == torch.bfloat16
