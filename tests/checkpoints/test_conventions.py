"""Conventions of inputs by name: presets, numbers, words and the way back to options."""

import numpy as np
import pytest

from segbench.checkpoints.conventions import (
    PRESETS,
    Convention,
    as_options,
    describe_input,
    parse_convention,
    preset_of,
    with_preset,
)
from segbench.core.errors import UsageFault
from segbench.core.spec import InputSpec

IMAGENET = InputSpec()


def test_presets_are_what_programs_do_to_bytes() -> None:
    byte = np.array([200.0, 100.0, 50.0])
    expected = {
        "imagenet": (byte / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225],
        "half": byte / 127.5 - 1,
        "unit": byte / 255,
        "caffe": byte - [122.6789, 116.6688, 104.0070],
        "semiseg": (byte - [122.6789, 116.6688, 104.0070]) / 255,
    }
    assert set(expected) == set(PRESETS)
    for name, values in expected.items():
        mean, std = PRESETS[name].values("rgb")
        assert (byte / 255 - mean) / std == pytest.approx(values), name
        assert preset_of(with_preset(IMAGENET, name)) == PRESETS[name]


def test_caffes_mean_follows_its_colours_and_imagenets_its_places() -> None:
    """Caffe's is of colours; ContrastiveSeg and openseg feed BGR with the numbers as torchvision writes them."""
    for name, turned in (("caffe", True), ("semiseg", True), ("imagenet", False)):
        rgb, bgr = (PRESETS[name].values(channels)[0] for channels in ("rgb", "bgr"))
        assert (bgr == rgb[::-1]) == turned, name
    own = with_preset(IMAGENET, "caffe")
    assert Convention(channels="bgr").input(own).mean == own.mean[::-1]
    assert Convention(channels="bgr").input(IMAGENET) == InputSpec(channels="bgr")


def test_numbers() -> None:
    unit = parse_convention(mean="0.1,0.2,0.3", std="1,1,1").input(IMAGENET)
    assert (unit.mean, unit.std) == ((0.1, 0.2, 0.3), (1.0, 1.0, 1.0))
    bytes_ = parse_convention(mean="123.675,116.28,103.53", std="58.395,57.12,57.375").input(IMAGENET)
    assert preset_of(bytes_) == PRESETS["imagenet"], "as mmsegmentation writes them"
    assert bytes_.mean == pytest.approx(IMAGENET.mean) and bytes_.std == pytest.approx(IMAGENET.std)
    mixed = parse_convention(mean="0,0,0", std="255,255,255").input(IMAGENET)
    assert preset_of(mixed) == PRESETS["unit"]
    both = parse_convention(mean="half").input(IMAGENET)
    assert preset_of(both) == PRESETS["half"], "a preset's std comes with its mean"
    one = parse_convention(mean="unit", std="half").input(IMAGENET)
    assert (one.mean, one.std) == ((0.0,) * 3, (0.5,) * 3)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"channels": "grb"}, "rgb or bgr"),
        ({"mean": "caff"}, "--mean takes caffe"),
        ({"mean": "1,2,3,4", "std": "unit"}, "three numbers"),
        ({"mean": "nan,1,1", "std": "unit"}, "three numbers"),
        ({"std": "1,1,1"}, "must be given together"),
        ({"mean": "0,0,0", "std": "1,-1,1"}, "above 0"),
    ],
)
def test_nonsense_is_refused(words: dict[str, str], says: str) -> None:
    with pytest.raises(UsageFault, match=says):
        parse_convention(**words)  # type: ignore[arg-type]


def test_words_and_the_way_back() -> None:
    assert describe_input(IMAGENET) == "RGB ImageNet normalisation"
    odd = InputSpec(channels="bgr", mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    assert describe_input(odd) == "BGR mean 0.1/0.2/0.3, std 0.4/0.5/0.6"
    inputs = [with_preset(InputSpec(channels=channels), name) for channels in ("rgb", "bgr") for name in PRESETS]
    for own in (*inputs, odd):
        for wanted in (*inputs, odd):
            words = as_options(wanted, own).split()
            named = dict(zip([word[2:] for word in words[::2]], words[1::2], strict=True))
            again = parse_convention(**named).input(own)  # type: ignore[arg-type]
            assert again.channels == wanted.channels, (own, wanted, words)
            assert again.mean == pytest.approx(wanted.mean, abs=1e-4) and again.std == pytest.approx(
                wanted.std, abs=1e-4
            )
            assert bool(words) == (own != wanted)
