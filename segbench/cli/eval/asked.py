"""What the user asked of ``segbench eval``, read and checked before anything heavy is imported."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from segbench.core.errors import UsageFault

if TYPE_CHECKING:
    from segbench.checkpoints.conventions import Convention

PROTOCOLS = ("whole", "ms-flip", "slide", "published")
ABSENT = ("exclude", "zero", "one")
HELP = "segbench eval --help"


@dataclass(frozen=True)
class Asked:
    """Options of the command about the network and its protocol.

    Attributes:
        checkpoint: as typed.
        dataset, split, classes: what it is scored on; None for the likeliest.
        protocol: one of ``PROTOCOLS``; None where nothing was said.
        scale: of images and labels; None for as trained.
        absent: rule for absent classes.
        family: whose checkpoint it is; None to find out.
        model: ``module:function`` of the user's own network.
        convention: what is said against the file's own conventions; None for nothing.
        window, stride: (height, width).
        scales: of the protocol; empty for the protocol's own.
        flip: None for the protocol's own.
        allow_partial: leave at random what the file lacks.
        averaged: take the moving average of the weights.
        typed: the convention as it was typed.
    """

    checkpoint: str
    dataset: str | None = None
    split: str | None = None
    classes: str | None = None
    protocol: str | None = None
    scale: float | None = None
    absent: str = "exclude"
    family: str | None = None
    model: str | None = None
    convention: "Convention | None" = None
    window: tuple[int, int] | None = None
    stride: tuple[int, int] | None = None
    scales: tuple[float, ...] = ()
    flip: bool | None = None
    allow_partial: bool = False
    averaged: bool = False
    typed: tuple[str, ...] = ()

    @property
    def bare(self) -> str:
        """The command line without conventions and protocol."""
        words = [f"segbench eval --checkpoint {shlex.quote(self.checkpoint)}"]
        named = ("dataset", "classes", "family", "model")
        words += [f"--{name} {shlex.quote(value)}" for name in named if (value := getattr(self, name))]
        words += [f"--split {self.split}"] if self.split not in (None, "val") else []
        words += ["--allow-partial"] if self.allow_partial else []
        words += ["--ema"] if self.averaged else []
        return " ".join(words)

    @property
    def command(self) -> str:
        """The command line without the protocol."""
        return " ".join([self.bare, *self.typed])


def check_names(protocol: str | None, absent: str) -> None:
    """Refuse what is no protocol or rule.

    Raises:
        UsageFault: it is none.
    """
    if protocol is not None and protocol not in PROTOCOLS:
        raise UsageFault(f"No protocol {protocol!r}. Known: {', '.join(PROTOCOLS)}.", next=HELP)
    if absent not in ABSENT:
        raise UsageFault(f"--absent takes exclude, zero or one, got {absent!r}.", next=HELP)


def refuse(options: Mapping[str, object], other: str) -> None:
    """Refuse options that would be ignored.

    Raises:
        UsageFault: one of them was given.
    """
    given = [flag for flag, value in options.items() if value is not None]
    if given:
        raise UsageFault(f"{' and '.join(given)} mean{'s' * (len(given) == 1)} nothing to {other}.", next=HELP)


def typed_words(options: Mapping[str, str | None], align_corners: bool | None) -> tuple[str, ...]:
    """Conventions as they were typed."""
    words = [f"{flag} {shlex.quote(value)}" for flag, value in options.items() if value is not None]
    if align_corners is not None:
        words.append("--align-corners" if align_corners else "--no-align-corners")
    return tuple(words)


def parse_size(flag: str, text: str | None) -> tuple[int, int] | None:
    """``512x1024`` (height x width), or one number for a square.

    Raises:
        UsageFault: it is neither.
    """
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,5})(?:x(\d{1,5}))?", text.strip())
    size = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if min(size) < 1:
        raise UsageFault(f"{flag} takes HEIGHTxWIDTH, for example 512x1024, got {text!r}.", next=HELP)
    return size


def parse_scales(text: str | None) -> tuple[float, ...]:
    """``0.5,1,1.5``; empty where nothing is said.

    Raises:
        UsageFault: these are no factors from 0.1 to 4.
    """
    if text is None:
        return ()
    try:
        scales = tuple(float(part) for part in text.split(","))
    except ValueError:
        scales = ()
    if not scales or not all(0.1 <= scale <= 4 for scale in scales) or len(set(scales)) < len(scales):
        raise UsageFault(f"--scales takes factors from 0.1 to 4, for example 0.5,1,1.5, got {text!r}.", next=HELP)
    return scales
