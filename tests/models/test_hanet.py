"""HANet's decoder and its units against the written formulas; slots, noise and positions by hand; what it counts."""

import math
from collections import Counter

import pytest
import torch
from torch import Tensor, nn

from segbench.core.spec import Choice, ModelSpec
from segbench.models.decoders.hanet.network import HANet, build
from segbench.models.decoders.hanet.options import Options
from segbench.models.decoders.hanet.unit import HeightAttention, position_code, slots_of
from segbench.models.decoders.layers import Norm
from segbench.models.segmentor import Segmentor, build_segmentor
from tests.models.by_hand import Dilated, bilinear, close, conv, unit

SMALL = {"channels": 6, "low_channels": 3, "aux_channels": 5, "rates": (2, 3), "reduction": 2}


def randomised(module: nn.Module) -> nn.Module:
    """In float64 with every statistic and every affine value random, those of one dimension too."""
    for norm in module.double().modules():
        if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(norm.running_mean, std=0.3)
            nn.init.uniform_(norm.running_var, 0.5, 2)
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias, std=0.3)
    return module


def attention(*, slots: int = 4, reduction: int = 2, dropout: float = 0.1, noise: float = 0.5) -> HeightAttention:
    torch.manual_seed(0)
    made = HeightAttention(7, 5, slots=slots, reduction=reduction, dropout=dropout, noise=noise, norm=Norm())
    for layer in (made.expand.conv, made.gate):
        nn.init.normal_(layer.bias)
    randomised(made)
    return made


def code_by_hand(position: int, channel: int, width: int) -> float:
    angle = position / (10 if width > 50 else 100) ** (2 * (channel // 2) / width)
    return 1 + (math.cos(angle) if channel % 2 else math.sin(angle))


def gates_by_hand(made: HeightAttention, low: Tensor, places: list[list[int]], rows: int) -> list[list[list[float]]]:
    """Factors [n][channel][row] by loops over numbers: section 6.2 of the notes, step by step."""
    slots, height = made.slots, low.shape[2]

    def normed(value: float, norm: nn.BatchNorm1d, c: int) -> float:
        scaled = (value - norm.running_mean[c].item()) / math.sqrt(norm.running_var[c].item() + norm.eps)
        return scaled * norm.weight[c].item() + norm.bias[c].item()

    def convolved(x: list[list[float]], layer: nn.Conv1d) -> list[list[float]]:
        reach = layer.kernel_size[0] // 2
        return [
            [
                (0.0 if layer.bias is None else layer.bias[out].item())
                + sum(
                    layer.weight[out, c, tap].item() * x[c][slot + tap - reach]
                    for c in range(len(x))
                    for tap in range(2 * reach + 1)
                    if 0 <= slot + tap - reach < slots
                )
                for slot in range(slots)
            ]
            for out in range(layer.out_channels)
        ]

    def block(x: list[list[float]], layers: nn.Module) -> list[list[float]]:
        y = convolved(x, layers.conv)
        return [[max(0.0, normed(value, layers.norm, c)) for value in y[c]] for c in range(len(y))]

    answer = []
    for picture, own in zip(low, places, strict=True):
        bins = [(slot * height // slots, -(-(slot + 1) * height // slots)) for slot in range(slots)]
        means = [[picture[c, a:b].mean().item() for a, b in bins] for c in range(len(picture))]
        x = block(means, made.reduce)
        width = len(x)
        x = [[x[c][slot] + code_by_hand(own[slot], c, width) for slot in range(slots)] for c in range(width)]
        gates = [[1 / (1 + math.exp(-value)) for value in row] for row in convolved(block(x, made.expand), made.gate)]
        enlarged = []
        for row in gates:
            values = []
            for k in range(rows):
                at = min(max((k + 0.5) * slots / rows - 0.5, 0.0), slots - 1)
                below = min(math.floor(at), slots - 1)
                values.append(row[below] * (1 - at + below) + row[min(below + 1, slots - 1)] * (at - below))
            enlarged.append(values)
        answer.append(enlarged)
    return answer


@pytest.mark.parametrize(("height", "rows"), [(7, 9), (3, 5), (8, 4)])  # of the map read and the map gated
def test_unit_is_the_written_formula(height: int, rows: int) -> None:
    made = attention().eval()
    low, high = (torch.randn(2, c, h, 6, dtype=torch.float64) for c, h in ((7, height), (5, rows)))
    places = [[0, 1, 1, 4], [3, 2, 4, 4]]
    factors = torch.tensor(gates_by_hand(made, low, places, rows), dtype=torch.float64)
    # The position code is kept in float32.
    torch.testing.assert_close(made(low, high, torch.tensor(places)), high * factors[..., None], rtol=1e-6, atol=1e-6)


def test_position_code() -> None:
    for width in (5, 16, 51):
        code = position_code(16, width)
        assert code.shape == (17, width) and code.dtype == torch.float32
        for position in (0, 1, 7, 16):
            expected = [code_by_hand(position, channel, width) for channel in range(width)]
            assert code[position].tolist() == pytest.approx(expected, abs=1e-6)
    # sin 1 and cos 1; the third channel of five has the angle 1 / 100^(2/5)
    assert position_code(16, 5)[1, :3].tolist() == pytest.approx([1.841471, 1.540302, 1.157827], abs=1e-6)
    # above 50 channels the cycle is 10: the last of 52 has the angle 16 / 10^(50/52)
    assert position_code(16, 52)[16, 51].item() == pytest.approx(1 + math.cos(16 / 9.15247), abs=1e-5)


def nearest_of_rows(rows: list[int], slots: int) -> list[int]:
    """The released code's way: the map of row // 8 with 128 in the padding, divided by 8, the nearest of 16 values."""
    return [rows[math.floor(slot * len(rows) / slots)] // 8 for slot in range(slots)]


@pytest.mark.parametrize(("top", "length", "above", "below"), [(0, 1024, 0, 0), (256, 768, 0, 0), (100, 600, 84, 84)])
def test_slots_of_pictures_of_1024_rows(top: int, length: int, above: int, below: int) -> None:
    released = [128] * above + [row // 8 for row in range(top, top + length)] + [128] * below
    places = [1.0] * above + [row / 1024 for row in range(top, top + length)] + [1.0] * below
    assert slots_of(torch.tensor([places]), 16).tolist() == [nearest_of_rows(released, 16)]


def test_slots_by_hand() -> None:
    # A crop of rows 3 to 10 of 12, then two rows of padding, in 5 slots: rows 0, 2, 4, 6, 8 of the crop are looked at.
    places = torch.tensor([[row / 12 for row in range(3, 11)] + [1.0, 1.0]])
    # 5 * 3/12 = 1.25, 5 * 5/12 = 2.08, 5 * 7/12 = 2.9, 5 * 9/12 = 3.75, padding
    assert slots_of(places, 5).tolist() == [[1, 2, 2, 3, 5]]
    # Fewer rows than slots: each is looked at several times.
    assert slots_of(torch.tensor([[0.0, 0.5, 1.0]]), 6).tolist() == [[0, 0, 3, 3, 6, 6]]
    for slots in (3, 7, 10, 49):  # where a slot begins, whatever float32 makes of it
        begins = torch.tensor([[slot / slots for slot in range(slots)]])
        assert slots_of(begins, slots).tolist() == [list(range(slots))]


def test_noise_moves_positions_by_the_floor_of_a_normal() -> None:
    made = attention(slots=16, noise=0.5)
    made.train()
    middle = torch.full((4000, 4), 8)
    torch.manual_seed(1)
    moves = Counter((made._noisy(middle) - middle).flatten().tolist())
    # floor(x / 2) of a standard normal x: P(-2) = P(x < -2), P(-1) = P(-2 < x < 0)
    expected = {-2: 0.02275, -1: 0.47725, 0: 0.47725, 1: 0.02275}
    assert set(moves) == set(expected)
    for move, share in expected.items():
        assert moves[move] / 16000 == pytest.approx(share, abs=0.012)
    wide = attention(slots=16, noise=50.0).train()
    moved = {place: set(wide._noisy(torch.full((200, 4), place)).flatten().tolist()) for place in (0, 8, 16)}
    assert moved[0] == {0, 1, 2}
    assert {6, 10} <= moved[8] <= {6, 7, 8, 9, 10}
    assert moved[16] == {14, 15, 16}
    assert torch.equal(made.eval()._noisy(middle), middle)
    assert torch.equal(attention(noise=0.0).train()._noisy(middle), middle)


def test_noise_and_dropout_come_from_torchs_own_dice() -> None:
    """Which a training's state keeps."""
    made = attention().train()
    low, high = torch.randn(3, 7, 8, 6).double(), torch.ones(3, 5, 9, 2).double()
    places = torch.tensor([[0, 1, 2, 3]] * 3)
    state = torch.get_rng_state()
    first, second = made(low, high, places), made(low, high, places)
    torch.set_rng_state(state)
    assert torch.equal(made(low, high, places), first)
    assert not torch.equal(first, second)


def test_whole_channels_are_dropped() -> None:
    made = attention(dropout=0.5).train()
    seen: list[Tensor] = []
    made.reduce.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    made(torch.ones(8, 7, 8, 6).double(), torch.ones(8, 5, 9, 2).double(), torch.zeros(8, 4, dtype=torch.long))
    values = seen[0]
    assert bool(((values == 0).all(2) | (values == 2).all(2)).all())
    assert 0 < (values == 0).double().mean() < 1


def decoder_of(*, align_corners: bool = True, **options: object) -> HANet:
    torch.manual_seed(0)
    options = {**SMALL, **options}
    made = build(Options.model_validate(options), backbone=Dilated(), num_classes=4, align_corners=align_corners)
    assert isinstance(made, HANet)
    return made


def layers(size: tuple[int, int] = (7, 9)) -> tuple[Tensor, ...]:
    torch.manual_seed(1)
    sizes = [(2 * size[0] - 1, 2 * size[1] - 1), size, size, size]
    pairs = zip(Dilated().layer_channels, sizes, strict=True)
    return tuple(torch.randn(2, channels, *each, dtype=torch.float64) for channels, each in pairs)


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("units", [("stage4", "aspp", "bottleneck", "decoder"), ("decoder", "aspp"), ()])
def test_decoder_is_the_written_formula(align_corners: bool, units: tuple[str, ...]) -> None:
    decoder = randomised(decoder_of(units=units, align_corners=align_corners)).eval()
    finest, _, before, deep = layers()
    rows = torch.linspace(0.2, 0.9, 40).expand(2, -1)
    places = torch.tensor([[math.floor(16 * rows[0, 40 * slot // 16].item()) for slot in range(16)]] * 2)

    def gated(name: str, low: Tensor, high: Tensor) -> Tensor:
        return decoder.units[name](low, high, places) if name in units else high

    deep = gated("stage4", before, deep)
    aspp = decoder.aspp
    pooled = unit(deep.mean((2, 3), keepdim=True), aspp.pooling) * torch.ones(7, 9, dtype=deep.dtype)
    maps = [pooled, unit(deep, aspp.branches[0])]
    maps += [unit(deep, branch, rate=rate) for branch, rate in zip(aspp.branches[1:], (2, 3), strict=True)]
    pyramid = gated("aspp", deep, torch.cat(maps, 1))
    narrow = gated("bottleneck", pyramid, unit(pyramid, decoder.bottleneck))
    both = torch.cat([unit(finest, decoder.low), bilinear(narrow, (13, 17), align_corners=align_corners)], 1)
    expected = gated("decoder", both, unit(unit(both, decoder.fuse[0]), decoder.fuse[1]))
    logits, embedding, aux, *_ = decoder(layers(), (40, 60), rows)
    close(embedding, expected)
    close(logits, conv(expected, decoder.classifier))
    assert aux == {}


def test_rows_matter_and_none_are_those_of_whole_pictures() -> None:
    decoder = randomised(decoder_of()).eval()
    whole = torch.arange(53).expand(2, -1) / 53
    close(decoder(layers(), (53, 70))[0], decoder(layers(), (53, 70), whole)[0])
    lower = decoder(layers(), (53, 70), 0.5 + whole / 2)[0]
    assert (lower - decoder(layers(), (53, 70))[0]).abs().max() > 1e-3
    mixed = decoder(layers(), (53, 70), torch.stack([whole[0], 0.5 + whole[0] / 2]))[0]
    close(mixed[1], lower[1])


def test_auxiliary_classifier_reads_stage_3_in_training_alone() -> None:
    decoder = decoder_of().double()
    assert set(decoder.train()(layers(), (53, 70))[2]) == {"aux"} and decoder.eval()(layers(), (53, 70))[2] == {}
    head = randomised(decoder.auxiliary).eval()
    decoder.train()
    head.eval()
    aux = decoder(layers(), (53, 70))[2]["aux"]
    close(aux, conv(unit(layers()[-2], head.conv), head.classifier))
    assert head.conv.conv.bias is not None and head.conv.conv.out_channels == 5
    assert isinstance(head.dropout, nn.Dropout2d) and head.dropout.p == 0.1


def published() -> Segmentor:
    backbone = {"depth": 101, "stem": "deep", "output_stride": 8, "dilation": "full"}
    spec = ModelSpec(backbone=Choice(name="resnet", options=backbone), decoder=Choice(name="hanet"), align_corners=True)
    with torch.device("meta"):
        return build_segmentor(spec, num_classes=19)


def test_numbers_of_parameters() -> None:
    """Those of the released network; its fixed tables are buffers here."""
    network = published()
    units = network.decoder.units
    counts = {name: sum(p.numel() for p in units[name].parameters()) + units[name].code.numel() for name in units}
    assert counts == {"stage4": 216_976, "aspp": 319_520, "bottleneck": 59_476, "decoder": 9_731}
    assert [tuple(each.code.shape) for each in units.values()] == [(17, 16), (17, 32), (17, 20), (17, 5)]
    assert not any(name.endswith(".code") for name in network.state_dict())
    total = sum(p.numel() for p in network.parameters())
    aux = sum(p.numel() for p in network.decoder.auxiliary.parameters())
    assert (round((total - aux) / 1e6, 2), round(aux / 1e6, 2)) == (60.07, 4.73)
    for size in ((64, 96), (129, 257), (361, 33)):
        with torch.device("meta"):
            output = network(torch.empty(2, 3, *size))
        stride4 = tuple(-(-side // 4) for side in size)
        assert output.logits.shape == (2, 19, *stride4) and output.embedding.shape == (2, 256, *stride4)
        assert output.aux["aux"].shape == (2, 19, *(-(-side // 8) for side in size))


def test_every_parameter_learns_and_what_starts_where() -> None:
    decoder = decoder_of(unit_dropout=0.0, aux_dropout=0.0).train()
    for layer in decoder.modules():
        if isinstance(layer, nn.Conv1d | nn.Conv2d):
            assert layer.bias is None or not layer.bias.any()
    wide = build(Options(), backbone=Dilated(), num_classes=4, align_corners=True)
    for name, layer in wide.named_modules():
        if isinstance(layer, nn.Conv1d | nn.Conv2d) and layer.weight.numel() > 500:
            fan_in = layer.weight[0].numel()
            assert layer.weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.2), name
    logits, _, aux, *_ = decoder(tuple(x.float() for x in layers()), (53, 70))
    (logits.square().mean() + aux["aux"].square().mean()).backward()
    still = [name for name, p in decoder.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert still == []


@pytest.mark.parametrize("training", [True, False])
def test_low_precision_and_extremes_stay_finite(training: bool) -> None:
    decoder = decoder_of().train(training)
    padding = torch.ones(2, 53)
    for factor in (1.0, 1e4, 0.0):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits, embedding, *_ = decoder(tuple((factor * x).float() for x in layers()), (53, 70), padding)
        assert logits.isfinite().all() and embedding.isfinite().all()
    low = decoder_of().train(training).to(torch.bfloat16)
    logits, embedding, *_ = low(tuple(x.to(torch.bfloat16) for x in layers()), (53, 70), padding)
    assert logits.dtype == embedding.dtype == torch.bfloat16 and logits.isfinite().all()


def test_options_are_said_and_checked() -> None:
    assert Options().label() == "HANet"
    assert Options().canonical() == {}
    assert decoder_of().weight_decays == {"units.": 1e-4}
    assert decoder_of(unit_weight_decay=None).weight_decays == {}
    for wrong in ({"units": ["stage5"]}, {"slots": 0}, {"position_noise": -1.0}, {"unit_weight_decay": -1e-4}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Options.model_validate(wrong)
