"""The conventions that people get wrong, as ways to score one checkpoint, and what the best of them says."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from segbench.core.errors import UsageFault

from .asked import ABSENT, HELP
from .protocol import SLIDING, build, multi_scale, sliding

if TYPE_CHECKING:
    from segbench.checkpoints.conventions import Channels
    from segbench.checkpoints.loaded_model import LoadedModel
    from segbench.core.spec import EvaluationSpec

    from .single import Found

AXES = ("channels", "normalisation", "align", "scales", "window")
_NORMALISATIONS = ("imagenet", "half", "caffe")
NOTICED = 0.1  # points of mIoU; less is not worth a sentence


@dataclass(frozen=True)
class Way:
    """One way to score: a network with its conventions, and a protocol."""

    subject: "LoadedModel"
    spec: "EvaluationSpec"

    @property
    def key(self) -> str:
        """Id of its evaluation."""
        from segbench.core.spec import evaluation_id

        return evaluation_id(self.subject.identity, self.spec)

    def cells(self) -> dict[str, str]:
        """Axis to its value here, in a word or two."""
        from segbench.checkpoints.conventions import describe_normalisation

        spec, input = self.spec, self.subject.input
        window = "{}x{}".format(*spec.window) if spec.mode == "slide" and spec.window is not None else "whole"
        scales = ("ms" if len(spec.scales) > 1 else "single") + (" + flip" if spec.flip else "")
        return {
            "channels": input.channels.upper(),
            "normalisation": describe_normalisation(input).removesuffix(" normalisation").removeprefix("values in "),
            "align": str(self.subject.align_corners),
            "scales": scales,
            "window": window,
        }


@dataclass(frozen=True)
class Row:
    """A way with its outcome under one rule for absent classes, mIoU in percent."""

    way: Way
    absent: str
    miou: float

    def cells(self) -> dict[str, str]:
        return {**self.way.cells(), "absent": {"exclude": "excluded"}.get(self.absent, f"as {self.absent}")}


def parse_axes(text: str | None) -> tuple[str, ...]:
    """Axes by name, all of them where nothing is said.

    Raises:
        UsageFault: one does not exist.
    """
    wanted = tuple(AXES if text is None else [name.strip() for name in text.split(",")])
    unknown = [name for name in wanted if name not in AXES]
    if unknown:
        raise UsageFault(f"No axis {unknown[0]!r}. Known: {', '.join(AXES)}.", next=HELP)
    return tuple(name for name in AXES if name in wanted)


def of_input(found: "Found", axes: Sequence[str]) -> list[Way]:
    """What the network is fed and how it resizes, every combination, by the protocol that was asked for."""
    from segbench.checkpoints.conventions import Convention, preset_of
    from segbench.checkpoints.loaded_model import adjusted

    own = found.subject
    orders: list[Channels] = ["bgr", "rgb"] if own.input.channels == "bgr" else ["rgb", "bgr"]
    channels = orders if "channels" in axes else orders[:1]
    named = preset_of(own.input)
    presets: list[str | None] = [None]
    if "normalisation" in axes:
        presets += [name for name in _NORMALISATIONS if named is None or name != named.name]
    aligns = [own.align_corners, not own.align_corners] if "align" in axes else [own.align_corners]
    realigned = {align: adjusted(own, Convention(align_corners=align)) for align in aligns}
    ways: dict[str, Way] = {}
    for align in aligns:
        for order in channels:
            for preset in presets:
                fed = Convention(order, mean=preset, std=preset)
                way = Way(adjusted(realigned[align], fed), found.spec)
                ways.setdefault(way.key, way)
    return list(ways.values())


def of_protocol(found: "Found", leader: Way, axes: Sequence[str]) -> list[Way]:
    """Scales, mirrors and windows for the conventions that lead, other than those that were asked for."""
    asked, subject = found.asked, leader.subject
    many = multi_scale(subject)
    scales: list[dict[str, Any]] = [{"scales": found.spec.scales, "flip": found.spec.flip}]
    if "scales" in axes:
        scales += [{"scales": (1.0,), "flip": False}, {"scales": many["scales"], "flip": True}]
    windows: list[dict[str, Any]] = [{name: getattr(found.spec, name) for name in SLIDING}]
    if "window" in axes:
        known = sliding(asked, subject) or {}
        windows += [{}, {name: value for name, value in known.items() if name in SLIDING}]
    sizing = {name: getattr(found.spec, name) for name in ("short_side", "max_side", "multiple_of", "pad", "enlarge")}
    ways: dict[str, Way] = {}
    for window in windows:
        for scale in scales:
            fuse = {"fuse": found.spec.fuse} if window.get("overlap") != "probabilities" else {}
            way = Way(subject, build(found.data, asked, {**sizing, **window, **scale, **fuse}))
            if way.key != leader.key:
                ways.setdefault(way.key, way)
    return list(ways.values())


def declared(found: "Found") -> Way:
    """The file's own conventions by the protocol that was asked for."""
    from segbench.checkpoints.conventions import Convention
    from segbench.checkpoints.loaded_model import adjusted

    input, align = found.subject.declared
    own = adjusted(found.subject, Convention(input.channels, input.mean, input.std, align))
    return Way(own, found.spec)


def rows_of(way: Way, counts: dict[str, Any]) -> list[Row]:
    """The outcome under the rule that was asked for, and under the others where it differs."""
    from segbench.metrics.scores import Tally, miou

    total = Tally(counts["true_positive"], counts["predicted"], counts["target"]).total()
    values = {rule: 100 * float(miou(total, absent=rule)) for rule in ABSENT}  # type: ignore[arg-type]
    own = way.spec.absent
    return [Row(way, rule, value) for rule, value in values.items() if rule == own or value != values[own]]


def leader(rows: Sequence[Row], absent: str) -> Row:
    """The best row by the rule that was asked for; of equal ones the first, which is the checkpoint's own."""
    return max((row for row in rows if row.absent == absent), key=lambda row: row.miou)


def explain(rows: Sequence[Row], declared: Way, absent: str) -> list[str]:
    """What makes the difference between the declared conventions and the best ones, a sentence each, largest first."""
    best = leader(rows, absent)
    own = declared.cells()
    found: list[tuple[float, str]] = []
    for axis, value in best.way.cells().items():
        if value == own[axis]:
            continue
        rivals = [
            row for row in rows if row.absent == absent and row.way.cells() == best.way.cells() | {axis: own[axis]}
        ]
        if rivals and (gain := best.miou - rivals[0].miou) >= NOTICED:
            found.append((gain, _SENTENCES[axis].format(value=value, own=own[axis], gain=gain)))
    if found:
        return [sentence for _, sentence in sorted(found, key=lambda item: -item[0])]
    if best.way.cells() == own:
        return ["The checkpoint's own conventions are the best of these: a lower figure has another cause."]
    return [f"No single convention makes a difference of {NOTICED} points."]


_SENTENCES = {
    "channels": "This checkpoint behaves like one trained on {value} input ({gain:+.1f} over {own}).",
    "normalisation": "This checkpoint behaves like one trained on {value} images ({gain:+.1f} over {own}).",
    "align": "This checkpoint behaves like one trained with align_corners={value} ({gain:+.1f} over {own}).",
    "scales": "{value} is worth {gain:+.1f} over {own}.",
    "window": "Windows ({value}) are worth {gain:+.1f} over {own}.",
}


def options(way: Way, found: "Found") -> str:
    """What to type to score so."""
    from segbench.checkpoints.conventions import as_options

    subject, spec = way.subject, way.spec
    input, align = subject.declared
    words = [as_options(subject.input, input)]
    if subject.align_corners != align:
        words.append("--align-corners" if subject.align_corners else "--no-align-corners")
    if spec.mode == "slide" and spec.window is not None:
        stride = spec.stride or spec.window
        words.append("--protocol slide --window {}x{} --stride {}x{}".format(*spec.window, *stride))
    if len(spec.scales) > 1 and spec.scales == tuple(multi_scale(subject)["scales"]) and spec.mode == "whole":
        words.append("--protocol ms-flip")
    elif spec.scales != (1.0,) or spec.flip:
        words.append(f"--scales {','.join(f'{scale:g}' for scale in spec.scales)}" + (" --flip" if spec.flip else ""))
    return " ".join(word for word in words if word)
