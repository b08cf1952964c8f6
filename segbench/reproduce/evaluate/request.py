"""Request to evaluate a checkpoint, checked before anything heavy is imported. Free of torch."""

import shlex
from dataclasses import dataclass, field
from typing import Any

from segbench.checkpoints.conventions import Convention
from segbench.core.errors import UsageFault
from segbench.core.spec import EvaluationSpec, Size
from segbench.metrics.scores import ABSENT_RULES, Absent

PROTOCOLS = ("whole", "ms-flip", "slide", "published")
HELP = "segbench eval --help"
Readings = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class ScoredRow:
    """A row that a checkpoint stands for.

    Attributes:
        table, row, dataset: of its figures.
        spec: its published evaluation protocol.
        readings: answers to open points, other than the default ones.
    """

    table: str
    row: str
    dataset: str
    spec: EvaluationSpec
    readings: Readings = ()

    def __str__(self) -> str:
        return f"{self.table}/{self.row}"

    def as_json(self) -> dict[str, Any]:
        """Return what a record keeps of it."""
        named = {"table": self.table, "row": self.row, "dataset": self.dataset}
        return {**named, "readings": dict(self.readings)} if self.readings else named


@dataclass(frozen=True)
class EvalRequest:
    """Checkpoint, data set and protocol of an evaluation, as far as the user says.

    Attributes:
        checkpoint: path, address, ``hf:ORG/NAME`` or registered name.
        dataset, split, classes: data to score on; None for the likeliest.
        protocol: one of ``PROTOCOLS``; None for ``slide`` if there is a window, else ``whole``.
        scale: of images and labels; None for that of the training.
        absent: rule for absent classes: ``exclude``, ``zero`` or ``one``.
        family: project that published the checkpoint; None to detect.
        model: ``module:function`` that builds the user's own network.
        convention: conventions in place of the file's own.
        window, stride: (height, width); None for the project's own.
        scales: of the protocol; empty for the protocol's own.
        flip: None for the protocol's own.
        allow_partial: initialise at random what the file lacks.
        averaged: use the moving average of the weights.
        row: row that the checkpoint stands for, whose data and protocol score it; see ``as_row`` of ``row``.

    Raises:
        UsageFault: there is no such protocol or rule.
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
    convention: Convention = field(default_factory=Convention)
    window: Size | None = None
    stride: Size | None = None
    scales: tuple[float, ...] = ()
    flip: bool | None = None
    allow_partial: bool = False
    averaged: bool = False
    row: ScoredRow | None = None

    def __post_init__(self) -> None:
        if self.protocol is not None and self.protocol not in PROTOCOLS:
            raise UsageFault(f"No protocol {self.protocol!r}. Known: {', '.join(PROTOCOLS)}.", next=HELP)
        absent_rule(self.absent)

    @property
    def bare(self) -> str:
        """Command line without conventions and protocol."""
        words = [f"segbench eval --checkpoint {shlex.quote(self.checkpoint)}"]
        if self.row is not None:
            words += [f"--as {self.row} --dataset {self.row.dataset}"]
            words += [f"--reading {name}={option}" for name, option in self.row.readings]
        named = ("family", "model") if self.row is not None else ("dataset", "classes", "family", "model")
        words += [f"--{name} {shlex.quote(value)}" for name in named if (value := getattr(self, name))]
        words += [f"--split {self.split}"] if self.split not in (None, "val") and self.row is None else []
        words += ["--allow-partial"] if self.allow_partial else []
        words += ["--ema"] if self.averaged else []
        return " ".join(words)

    @property
    def command(self) -> str:
        """Command line without the protocol."""
        return " ".join([self.bare, *_options(self.convention)])


def absent_rule(name: str) -> Absent:
    """Return the rule for absent classes of this name.

    Raises:
        UsageFault: there is none.
    """
    for rule in ABSENT_RULES:
        if rule == name:
            return rule
    raise UsageFault(f"--absent takes exclude, zero or one, got {name!r}.", next=HELP)


def _options(convention: Convention) -> list[str]:
    """Return the options of the command line for conventions."""
    words = [f"--channels {convention.channels}"] if convention.channels is not None else []
    for name, value in (("mean", convention.mean), ("std", convention.std)):
        if value is None or (name == "std" and isinstance(value, str) and value == convention.mean):
            continue  # the name of a preset for the mean sets the std too
        words.append(f"--{name} " + (value if isinstance(value, str) else ",".join(f"{number:g}" for number in value)))
    if convention.align_corners is not None:
        words.append("--align-corners" if convention.align_corners else "--no-align-corners")
    return words
