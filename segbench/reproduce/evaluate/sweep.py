"""Sweep over the conventions that people get wrong, and what the best of them says about a checkpoint."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segbench.checkpoints.conventions import Channels, Convention, as_options, describe_normalisation, preset_of
from segbench.checkpoints.loaded_model import LoadedModel, adjusted
from segbench.core.errors import UsageFault
from segbench.core.progress import SILENT, Observer
from segbench.core.spec import EvaluationSpec, evaluation_id
from segbench.engine.runtime import Runtime
from segbench.metrics.scores import ABSENT_RULES, Absent, Tally, miou
from segbench.reproduce.folders import Folders
from segbench.reproduce.run import run_job

from .checkpoint import OpenedCheckpoint
from .protocol import SLIDING, build, multi_scale, sliding
from .request import HELP

AXES = ("channels", "normalisation", "align", "scales", "window")
NOTICED = 0.1  # points of mIoU; less is not worth a sentence
_NORMALISATIONS = ("imagenet", "half", "caffe")
_SENTENCES = {
    "channels": "This checkpoint behaves like one trained on {value} input ({gain:+.1f} over {own}).",
    "normalisation": "This checkpoint behaves like one trained on {value} images ({gain:+.1f} over {own}).",
    "align": "This checkpoint behaves like one trained with align_corners={value} ({gain:+.1f} over {own}).",
    "scales": "{value} is worth {gain:+.1f} over {own}.",
    "window": "Windows ({value}) are worth {gain:+.1f} over {own}.",
}


@dataclass(frozen=True)
class SweepPoint:
    """One combination: a network under some conventions, and a protocol."""

    model: LoadedModel
    spec: EvaluationSpec

    @property
    def id(self) -> str:
        """Id of its evaluation."""
        return evaluation_id(self.model.identity, self.spec)

    def cells(self) -> dict[str, str]:
        """Return the value on each axis, in a word or two."""
        spec, input = self.spec, self.model.input
        window = "{}x{}".format(*spec.window) if spec.mode == "slide" and spec.window is not None else "whole"
        scales = ("ms" if len(spec.scales) > 1 else "single") + (" + flip" if spec.flip else "")
        return {
            "channels": input.channels.upper(),
            "normalisation": describe_normalisation(input).removesuffix(" normalisation").removeprefix("values in "),
            "align": str(self.model.align_corners),
            "scales": scales,
            "window": window,
        }


@dataclass(frozen=True)
class SweepRow:
    """Score of a point under one rule for absent classes.

    Attributes:
        point: the combination.
        absent: the rule.
        miou: in percent.
    """

    point: SweepPoint
    absent: Absent
    miou: float

    @property
    def spec(self) -> EvaluationSpec:
        """Protocol under this rule."""
        return self.point.spec.model_copy(update={"absent": self.absent})

    @property
    def id(self) -> str:
        """Id of the evaluation under this rule."""
        return evaluation_id(self.point.model.identity, self.spec)

    def cells(self) -> dict[str, str]:
        """Return the value on each axis, the rule included."""
        return {**self.point.cells(), "absent": {"exclude": "excluded"}.get(self.absent, f"as {self.absent}")}


def parse_axes(text: str | None) -> tuple[str, ...]:
    """Return the named axes, separated by commas; all of them for None.

    Raises:
        UsageFault: one does not exist.
    """
    wanted = tuple(AXES if text is None else [name.strip() for name in text.split(",")])
    unknown = [name for name in wanted if name not in AXES]
    if unknown:
        raise UsageFault(f"No axis {unknown[0]!r}. Known: {', '.join(AXES)}.", next=HELP)
    return tuple(name for name in AXES if name in wanted)


class Sweep:
    """Scores of a checkpoint under many conventions and protocols.

    Input and corners are tried in all combinations, in one pass over the images; then, in a second one, scales and
    windows under the conventions that lead. Every combination is a record; those in the store are not scored again.

    Attributes:
        opened: the checkpoint.
        axes: what is tried, of ``AXES``.
        rows: scores so far.
    """

    def __init__(self, opened: OpenedCheckpoint, axes: Sequence[str] = AXES) -> None:
        self.opened, self.axes = opened, tuple(axes)
        self.rows: list[SweepRow] = []

    def run(self, folders: Folders, runtime: Runtime, *, observer: Observer = SILENT) -> None:
        """Score all combinations.

        Raises:
            MissingFault, RunFault, Interrupted: as of ``run_job``; rows of a finished pass are kept.
        """
        first = input_points(self.opened, self.axes)
        passes = 1 + any(axis in self.axes for axis in ("scales", "window"))
        observer.announce(f"{_many(len(first), 'combination')} for {self.opened.model.path.name}", 1, passes)
        self.rows += self._score(first, folders, runtime, observer)
        if passes > 1:
            second = protocol_points(self.opened, self.best.point, self.axes)
            observer.announce(f"{_many(len(second), 'protocol')} for the leading one", 2, passes)
            self.rows += self._score(second, folders, runtime, observer)

    @property
    def best(self) -> SweepRow:
        """Best row by the rule for absent classes that was asked for."""
        return best_of(self.rows, self.opened.request.absent)

    def explain(self) -> list[str]:
        """Return a sentence on each difference between the declared conventions and the best ones, largest first."""
        best = self.best
        own = declared_point(self.opened).cells()
        found: list[tuple[float, str]] = []
        for axis, value in best.point.cells().items():
            if value == own[axis]:
                continue
            wanted = best.point.cells() | {axis: own[axis]}
            rivals = [row for row in self.rows if row.absent == best.absent and row.point.cells() == wanted]
            if rivals and (gain := best.miou - rivals[0].miou) >= NOTICED:
                found.append((gain, _SENTENCES[axis].format(value=value, own=own[axis], gain=gain)))
        if found:
            return [sentence for _, sentence in sorted(found, key=lambda item: -item[0])]
        if best.point.cells() == own:
            return ["The checkpoint's own conventions are the best of these: a lower figure has another cause."]
        return [f"No single convention makes a difference of {NOTICED} points."]

    def _score(
        self, points: Sequence[SweepPoint], folders: Folders, runtime: Runtime, observer: Observer
    ) -> list[SweepRow]:
        store = folders.store
        known = {
            point.id: counts
            for point in points
            if (record := store.find(point.id)) is not None and (counts := store.counts(record)) is not None
        }
        tasks = [
            self.opened.task(point.model, point.spec, other_absent=ABSENT_RULES)
            for point in points
            if point.id not in known
        ]
        if tasks:
            result = run_job(self.opened.job(tasks), folders, runtime, observer=observer, model=self.opened.model)
            counted = {record.id: store.counts(record) for record in result.records}
            known |= {identity: counts for identity, counts in counted.items() if counts is not None}
        return [row for point in points for row in rows_of(point, known[point.id])]


def input_points(opened: OpenedCheckpoint, axes: Sequence[str]) -> list[SweepPoint]:
    """Return every combination of input and corners, by the protocol that was asked for."""
    own = opened.model
    orders: list[Channels] = ["bgr", "rgb"] if own.input.channels == "bgr" else ["rgb", "bgr"]
    channels = orders if "channels" in axes else orders[:1]
    named = preset_of(own.input)
    presets: list[str | None] = [None]
    if "normalisation" in axes:
        presets += [name for name in _NORMALISATIONS if named is None or name != named.name]
    aligns = [own.align_corners, not own.align_corners] if "align" in axes else [own.align_corners]
    realigned = {align: adjusted(own, Convention(align_corners=align)) for align in aligns}
    points: dict[str, SweepPoint] = {}
    for align in aligns:
        for order in channels:
            for preset in presets:
                convention = Convention(order, mean=preset, std=preset)
                point = SweepPoint(adjusted(realigned[align], convention), opened.spec)
                points.setdefault(point.id, point)
    return list(points.values())


def protocol_points(opened: OpenedCheckpoint, leader: SweepPoint, axes: Sequence[str]) -> list[SweepPoint]:
    """Return scales, flips and windows under the leader's conventions, other than those that were asked for."""
    request, model, spec = opened.request, leader.model, opened.spec
    many = multi_scale(model)
    scales: list[dict[str, Any]] = [{"scales": spec.scales, "flip": spec.flip}]
    if "scales" in axes:
        scales += [{"scales": (1.0,), "flip": False}, {"scales": many["scales"], "flip": True}]
    windows: list[dict[str, Any]] = [{name: getattr(spec, name) for name in SLIDING}]
    if "window" in axes:
        known = sliding(request, model) or {}
        windows += [{}, {name: value for name, value in known.items() if name in SLIDING}]
    sizing = {name: getattr(spec, name) for name in ("short_side", "max_side", "multiple_of", "pad", "enlarge")}
    points: dict[str, SweepPoint] = {}
    for window in windows:
        for scale in scales:
            fuse = {"fuse": spec.fuse} if window.get("overlap") != "probabilities" else {}
            point = SweepPoint(model, build(opened.data, request, {**sizing, **window, **scale, **fuse}))
            if point.id != leader.id:
                points.setdefault(point.id, point)
    return list(points.values())


def declared_point(opened: OpenedCheckpoint) -> SweepPoint:
    """Return the file's own conventions, by the protocol that was asked for."""
    input, align = opened.model.declared
    own = adjusted(opened.model, Convention(input.channels, input.mean, input.std, align))
    return SweepPoint(own, opened.spec)


def rows_of(point: SweepPoint, counts: Mapping[str, NDArray[np.int64]]) -> list[SweepRow]:
    """Return the score under the rule that was asked for, and under the others if it differs."""
    total = Tally(counts["true_positive"], counts["predicted"], counts["target"]).total()
    values = {rule: 100 * float(miou(total, absent=rule)) for rule in ABSENT_RULES}
    own = point.spec.absent
    return [SweepRow(point, rule, value) for rule, value in values.items() if rule == own or value != values[own]]


def best_of(rows: Sequence[SweepRow], absent: str) -> SweepRow:
    """Return the best row by this rule; of equal ones the first, which is the checkpoint's own."""
    return max((row for row in rows if row.absent == absent), key=lambda row: row.miou)


def options_of(point: SweepPoint) -> str:
    """Return the options of ``segbench eval`` for a point."""
    model, spec = point.model, point.spec
    input, align = model.declared
    words = [as_options(model.input, input)]
    if model.align_corners != align:
        words.append("--align-corners" if model.align_corners else "--no-align-corners")
    if spec.mode == "slide" and spec.window is not None:
        stride = spec.stride or spec.window
        words.append("--protocol slide --window {}x{} --stride {}x{}".format(*spec.window, *stride))
    if len(spec.scales) > 1 and spec.scales == tuple(multi_scale(model)["scales"]) and spec.mode == "whole":
        words.append("--protocol ms-flip")
    elif spec.scales != (1.0,) or spec.flip:
        words.append(f"--scales {','.join(f'{scale:g}' for scale in spec.scales)}" + (" --flip" if spec.flip else ""))
    return " ".join(word for word in words if word)


def _many(count: int, name: str) -> str:
    return f"{count:,} {name}{'' if count == 1 else 's'}"
