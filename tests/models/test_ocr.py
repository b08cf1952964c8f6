"""The OCR decoder against loops written from the paper's formulas (arXiv 1909.11065, section 3.2)."""

from math import exp, sqrt

import pytest
import torch
from torch import Tensor, nn

from segbench.models.decoders.ocr.network import OCR, build
from segbench.models.decoders.ocr.options import Options
from tests.models.by_hand import Dilated, bilinear, close, conv, randomised, unit

CLASSES = 3
HRNET = Dilated((2, 3, 4, 5), (4, 8, 16, 32))
HRNET_SIZES = ((9, 7), (5, 4), (3, 2), (2, 1))
RESNET = Dilated()
RESNET_SIZES = ((9, 7), (5, 4), (5, 4), (5, 4))


def made(*, align_corners: bool = True, seed: int = 0, **options: object) -> OCR:
    torch.manual_seed(seed)
    chosen = Options(**{"channels": 6, "key_channels": 4, **options})
    backbone = HRNET if chosen.aux_features == "concat" else RESNET
    decoder = build(chosen, backbone=backbone, num_classes=CLASSES, align_corners=align_corners)
    assert isinstance(decoder, OCR)
    return randomised(decoder)


def layers(aux_features: str, *, images: int = 2) -> tuple[Tensor, ...]:
    torch.manual_seed(1)
    backbone, sizes = (HRNET, HRNET_SIZES) if aux_features == "concat" else (RESNET, RESNET_SIZES)
    pairs = zip(backbone.layer_channels, sizes, strict=True)
    return tuple(torch.randn(images, channels, *size, dtype=torch.float64) for channels, size in pairs)


def region_means(logits: Tensor, pixels: Tensor) -> list[list[list[float]]]:
    """f_k = sum_i m_ki x_i of each image, m_k the softmax of class k over the pixels."""
    found = []
    for scores, features in zip(logits.flatten(2).tolist(), pixels.flatten(2).tolist(), strict=True):
        image = []
        for row in scores:
            weights = [exp(score) for score in row]
            share = [weight / sum(weights) for weight in weights]
            image.append([sum(m * x for m, x in zip(share, channel, strict=True)) for channel in features])
        found.append(image)
    return found


def contexts(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """y_i = sum_k w_ik value_k, w_i the softmax over the regions of query_i . key_k / sqrt(their length)."""
    n, depth, height, width = query.shape
    out = torch.zeros(n, value.shape[1], height, width, dtype=query.dtype)
    for image in range(n):
        for i in range(height):
            for j in range(width):
                q = query[image, :, i, j].tolist()
                dots = [
                    sum(a * b for a, b in zip(q, key[image, :, k, 0].tolist(), strict=True))
                    for k in range(key.shape[2])
                ]
                weights = [exp(dot / sqrt(depth)) for dot in dots]
                for k, weight in enumerate(weights):
                    out[image, :, i, j] += weight / sum(weights) * value[image, :, k, 0]
    return out


@pytest.mark.parametrize(
    ("options", "align_corners"),
    [
        ({}, True),
        ({}, False),
        ({"aux_head": "conv1x1", "attention_bias": False}, True),
        ({"aux_features": "stage3", "aux_channels": 5, "aux_dropout": 0.05}, True),
        ({"aux_features": "stage3", "conv_bias": False, "attention_bias": False}, False),
    ],
)
def test_decoder_is_the_written_formula(options: dict[str, object], align_corners: bool) -> None:
    decoder = made(align_corners=align_corners, **options).eval()
    maps = layers(str(options.get("aux_features", "concat")))
    coarse, fine = maps[-2:]
    if options.get("aux_features") != "stage3":
        finest = tuple(maps[0].shape[-2:])
        coarse = fine = torch.cat([bilinear(x, finest, align_corners=align_corners) for x in maps], 1)
    aux = conv(unit(coarse, decoder.regions[0]), decoder.regions[2])
    pixels = unit(fine, decoder.pixels)
    objects = torch.tensor(region_means(aux, pixels), dtype=torch.float64).transpose(1, 2).unsqueeze(-1)
    attention = decoder.attention
    query = unit(unit(pixels, attention.query[0]), attention.query[1])
    key = unit(unit(objects, attention.key[0]), attention.key[1])
    context = unit(contexts(query, key, unit(objects, attention.value)), attention.out)
    expected = unit(torch.cat([context, pixels], 1), decoder.fuse)
    logits, embedding, side, *_ = decoder(maps, (0, 0))
    close(side["aux"], aux)
    close(embedding, expected)
    close(logits, conv(expected, decoder.classifier))


def test_regions_are_a_set() -> None:
    """In which order the classes describe a pixel does not matter to it."""
    decoder, maps = made().eval(), layers("concat")
    before, _, aux, *_ = decoder(maps, (0, 0))
    order = [2, 0, 1]
    with torch.no_grad():
        decoder.regions[2].weight.copy_(decoder.regions[2].weight[order].clone())
        decoder.regions[2].bias.copy_(decoder.regions[2].bias[order].clone())
    after, _, changed, *_ = decoder(maps, (0, 0))
    close(changed["aux"], aux["aux"][:, order])
    close(after, before)


def test_what_has_a_bias_and_what_drops() -> None:
    def biased(**options: object) -> set[str]:
        layers = made(**options).named_modules()
        return {name for name, layer in layers if isinstance(layer, nn.Conv2d) and layer.bias is not None}

    classifiers = {"regions.2", "classifier"}
    own = {"regions.0.conv", "pixels.conv"}
    parts = {"query.0", "query.1", "key.0", "key.1", "value", "out"}
    attention = {f"attention.{part}.conv" for part in parts} | {"fuse.conv"}
    assert biased() == classifiers | own | attention
    assert biased(attention_bias=False) == classifiers | own
    assert biased(attention_bias=False, conv_bias=False) == classifiers
    decoder = made(dropout=0.5, channels=32, aux_dropout=0.25).train()
    assert isinstance(decoder.regions[1], nn.Dropout2d) and decoder.regions[1].p == 0.25
    dropped = (decoder(layers("concat"), (0, 0))[1] == 0).flatten(2).all(-1)
    assert 0.2 < dropped.float().mean() < 0.9


def test_the_final_loss_reaches_the_soft_regions() -> None:
    decoder = made().train()
    decoder(layers("concat"), (0, 0))[0].square().sum().backward()
    assert decoder.regions[2].weight.grad.abs().max() > 0


def test_regions_of_another_size_are_resized() -> None:
    """An undilated encoder: its last layer but one is larger."""
    decoder = made(aux_features="stage3").eval()
    maps = layers("stage3")
    larger = (*maps[:2], torch.randn(2, 7, 9, 8, dtype=torch.float64), maps[3])
    logits, _, aux, *_ = decoder(larger, (0, 0))
    assert logits.shape[-2:] == (5, 4)
    assert aux["aux"].shape[-2:] == (9, 8)
