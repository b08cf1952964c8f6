"""Input conventions of networks, with presets by name. Free of torch.

Mean and std are of images in [0, 1], in the order of the network's channels.
"""

from dataclasses import dataclass
from typing import Literal

from segbench.core.errors import UsageFault
from segbench.core.registry import close_names
from segbench.core.spec import InputSpec

Channels = Literal["rgb", "bgr"]
Triple = tuple[float, float, float]

_HELP = "segbench eval --help"
_BYTE = 1 / 255


@dataclass(frozen=True)
class Preset:
    """A normalisation that many networks share.

    Attributes:
        name: as of ``--mean``.
        title: in words, after the channel order.
        mean, std: as in an ``InputSpec``.
        of_colours: the mean belongs to colours, so that BGR reverses it, and not to channel positions.
    """

    name: str
    title: str
    mean: Triple
    std: Triple
    of_colours: bool = False

    def values(self, channels: Channels) -> tuple[Triple, Triple]:
        """Return mean and std in the order of these channels."""
        reversed_ = self.of_colours and channels == "bgr"
        return (self.mean[::-1] if reversed_ else self.mean), self.std


# ImageNet's are torchvision's, which ContrastiveSeg and openseg take in this order for BGR too. Caffe's are means of
# 0..255 without a division, of red, green and blue; SemiSeg divides what is left by 255 (utils/transformsgpu.py).
PRESETS: dict[str, Preset] = {
    each.name: each
    for each in (
        Preset("imagenet", "ImageNet normalisation", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        Preset("half", "values in -1..1", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        Preset("unit", "values in 0..1", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        Preset(
            "caffe",
            "values in 0..255 less Caffe's mean",
            (122.6789 * _BYTE, 116.6688 * _BYTE, 104.0070 * _BYTE),
            (_BYTE, _BYTE, _BYTE),
            of_colours=True,
        ),
        Preset(
            "semiseg",
            "values in 0..1 less Caffe's mean",
            (122.6789 * _BYTE, 116.6688 * _BYTE, 104.0070 * _BYTE),
            (1.0, 1.0, 1.0),
            of_colours=True,
        ),
    )
}


@dataclass(frozen=True)
class Convention:
    """The user's overrides of a file's own conventions; None keeps the file's.

    Attributes:
        channels: order of the colour channels.
        mean, std: name of a preset, or three numbers for images in [0, 1].
        align_corners: of resizes in the network and of its logits.
    """

    channels: Channels | None = None
    mean: str | Triple | None = None
    std: str | Triple | None = None
    align_corners: bool | None = None

    def input(self, own: InputSpec) -> InputSpec:
        """Return the input with the overrides of ``own``. A preset of colours follows the order of the channels."""
        channels = self.channels or own.channels
        mean, std = own.mean, own.std
        if channels != own.channels and (preset := preset_of(own)) is not None:
            mean, std = preset.values(channels)
        if self.mean is not None:
            mean = PRESETS[self.mean].values(channels)[0] if isinstance(self.mean, str) else self.mean
        if self.std is not None:
            std = PRESETS[self.std].values(channels)[1] if isinstance(self.std, str) else self.std
        return InputSpec(channels=channels, mean=mean, std=std)


def parse_convention(
    *, channels: str | None = None, mean: str | None = None, std: str | None = None, align_corners: bool | None = None
) -> Convention:
    """Parse the overrides as typed.

    A preset's name for the mean sets the std too, unless that is given. If a number is above 1 in absolute value, they
    are taken to be for images in 0..255.

    Raises:
        UsageFault: an unknown name, not three numbers, a std of 0, or numbers for only one of mean and std.
    """
    if channels is not None and channels not in ("rgb", "bgr"):
        raise UsageFault(f"--channels takes rgb or bgr, got {channels!r}.", next=_HELP)
    first, second = _parse("--mean", mean), _parse("--std", std)
    if isinstance(first, str) and second is None:
        second = first
    if (first is None) != (second is None):
        raise UsageFault("--mean and --std must be given together.", next=_HELP)
    numbers = [value for each in (first, second) if isinstance(each, tuple) for value in each]
    if any(abs(value) > 1 for value in numbers):
        first, second = _in_unit(first), _in_unit(second)
    if isinstance(second, tuple) and min(second) <= 0:
        raise UsageFault("--std takes numbers above 0.", next=_HELP)
    return Convention("bgr" if channels == "bgr" else "rgb" if channels else None, first, second, align_corners)


def preset_of(input: InputSpec) -> Preset | None:
    """Return the preset with the numbers of an input; None if there is none."""
    return next((each for each in PRESETS.values() if _close(each.values(input.channels), input)), None)


def describe_input(input: InputSpec) -> str:
    """Return e.g. ``RGB ImageNet normalisation``."""
    return f"{input.channels.upper()} {describe_normalisation(input)}"


def describe_normalisation(input: InputSpec) -> str:
    """Return e.g. ``ImageNet normalisation``, or the numbers."""
    preset = preset_of(input)
    if preset is not None:
        return preset.title
    return f"mean {_text(input.mean)}, std {_text(input.std)}"


def as_options(input: InputSpec, own: InputSpec) -> str:
    """Return the command-line options that turn ``own`` into ``input``; empty if none are needed."""
    words = [f"--channels {input.channels}"] if input.channels != own.channels else []
    if not _same(Convention(channels=input.channels).input(own), input):
        preset = preset_of(input)
        words.append(f"--mean {preset.name}" if preset else f"--mean {_typed(input.mean)} --std {_typed(input.std)}")
    return " ".join(words)


def with_preset(input: InputSpec, name: str) -> InputSpec:
    """Return the input with the normalisation of a preset."""
    mean, std = PRESETS[name].values(input.channels)
    return input.model_copy(update={"mean": mean, "std": std})


def _parse(flag: str, text: str | None) -> str | Triple | None:
    if text is None or text in PRESETS:
        return text
    try:
        values = tuple(float(number) for number in text.replace("/", ",").split(","))
    except ValueError:
        close = close_names(text, list(PRESETS)) or list(PRESETS)
        raise UsageFault(f"{flag} takes {', '.join(close)}, or three numbers, got {text!r}.", next=_HELP) from None
    if len(values) != 3 or not all(abs(value) < 1e6 for value in values):
        raise UsageFault(f"{flag} takes three numbers, got {text!r}.", next=_HELP)
    return values[0], values[1], values[2]


def _in_unit(values: str | Triple | None) -> str | Triple | None:
    return (values[0] / 255, values[1] / 255, values[2] / 255) if isinstance(values, tuple) else values


def _same(one: InputSpec, other: InputSpec) -> bool:
    return one.channels == other.channels and _close((one.mean, one.std), other)


def _close(values: tuple[Triple, Triple], input: InputSpec) -> bool:
    """Return True for numbers that agree up to rounding: files print about four digits."""
    pairs = zip((*values[0], *values[1]), (*input.mean, *input.std), strict=True)
    return all(abs(a - b) < 2e-4 * max(1e-2, abs(b)) + 1e-6 for a, b in pairs)


def _text(values: Triple) -> str:
    return "/".join(f"{value:.4g}" for value in values)


def _typed(values: Triple) -> str:
    return ",".join(repr(value) for value in values)
