"""Verdict of one printed figure: the variant to show, the values measured, and what follows from them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from segbench.recipe.catalog import Table
from segbench.recipe.deviations import Deviation
from segbench.recipe.figures import Figure
from segbench.recipe.margins import margin_of
from segbench.recipe.resolve import RANK, STAND_IN
from segbench.recipe.schema import Contradiction

from .decisions import levels, number_verdict, seeds_for_number, smallest_margin
from .exact import compared_times, judge_exact, judge_time, relate
from .pools import Pools
from .statistics import Side, Spread, correlation, deviation, error_of, expected_maximum, half_width, p_value
from .variants import Kind, TableVariants, record_kinds, value_of, values_of
from .verdicts import FigureVerdict, RowVariant


@dataclass(frozen=True)
class _Evidence:
    """Measurements for a figure: one side, or two for a gain, each with its values by seed."""

    kind: Kind
    sides: tuple[RowVariant, ...]
    values: tuple[dict[int, float], ...]

    @property
    def means(self) -> list[float]:
        """Mean over seeds of each side."""
        return [sum(side.values()) / len(side) for side in self.values]

    def deviations(self) -> list[Deviation]:
        """Return how the runs deviate from the publication; a count is always of the published network."""
        if self.kind == "cost":
            return []
        found = [side.resolved.deviations for side in self.sides]
        return list({str(deviation): deviation for side in found for deviation in side}.values())


class Judge:
    """Judge of the figures of one table."""

    def __init__(self, table: Table, variants: TableVariants, pools: Pools) -> None:
        self._table, self._variants, self._pools = table, variants, pools

    def figure(self, figure: Figure) -> FigureVerdict:
        """Judge a figure."""
        row = self._table.row(figure.row)
        own = self._variants.rows[figure.row, figure.dataset]
        variants = own.of(record_kinds(figure)[0])
        entry = FigureVerdict(
            figure,
            row.title or figure.row,
            "not run",
            confidence=variants[0].resolved.weakest_confidence,
            attempts=sum(bool(variant.records) or variant.requested for variant in variants),
            trainings=len(frozenset().union(*(variant.trainings for variant in variants))),
            contradictions=contradictions_of(figure, self._table.file.contradictions),
        )
        fault = self._split_fault(figure)
        if fault:
            return replace(entry, verdict="unavailable", reason=fault)
        evidence = self._evidence(figure)
        if evidence is None:
            return self._unanswered(entry) or self._missing(entry)
        return self._judged(self._described(entry, evidence), evidence)

    def _evidence(self, figure: Figure) -> _Evidence | None:
        """Return the first variant, or pair of variants, that has values on every side."""
        for kind in record_kinds(figure):
            candidates: Iterable[tuple[RowVariant, ...]]
            if figure.over is not None:
                candidates = self._variants.pairs[figure.row, figure.over, figure.dataset, kind]
            else:
                candidates = ((variant,) for variant in self._variants.rows[figure.row, figure.dataset].of(kind))
            for sides in candidates:
                values = tuple(values_of(side, figure) for side in sides)
                if all(values):
                    return _Evidence(kind, sides, values)
        return None

    def _described(self, entry: FigureVerdict, evidence: _Evidence) -> FigureVerdict:
        """Add everything but the verdict."""
        found = evidence.deviations()
        recorded = [str(each) for each in found if not each.material]
        confidences = [side.resolved.weakest_confidence for side in evidence.sides]
        common = [seed for seed in evidence.values[0] if all(seed in side for side in evidence.values)]
        by_seed = [[side[seed] for side in evidence.values] for seed in common]
        own = [deviation(list(side.values())) for side in evidence.values]
        return replace(
            entry,
            shown=evidence.sides[0],
            measured=relate(entry.figure, evidence.means),
            difference=relate(entry.figure, evidence.means) - entry.figure.value,
            values=tuple(relate(entry.figure, values) for values in by_seed),
            seeds=tuple(common),
            deviation=_joined(own if entry.figure.is_relative else own[:1]),
            correlation=correlation([(a, b) for a, b in by_seed]) if entry.figure.is_relative else None,
            deviations=tuple(str(each) for each in found if each.material),
            recorded=(*recorded, *runtime_facts(evidence.sides)),
            confidence=min((name for name in confidences if name), key=RANK.__getitem__, default=None),
        )

    def _judged(self, entry: FigureVerdict, evidence: _Evidence) -> FigureVerdict:
        figure = entry.figure
        if not figure.headline:
            return replace(entry, verdict="shown", reason="per class")
        if entry.deviations:
            full = all(side.budget == "full" for side in evidence.sides)
            command = "" if full else self._command(figure.row, figure.dataset)
            reason = str(evidence.sides[0])
            if figure.kind == "time" and len(evidence.means) == 2:
                reason += f"; {compared_times(figure, evidence.means, self._bases(figure))}"
            return replace(entry, verdict="not comparable", reason=reason, next=command)
        if figure.kind == "exact":
            return judge_exact(entry, evidence.means, bases=self._bases(figure))
        if figure.kind == "time":
            facts = evidence.sides[0].records[0].provenance
            if evidence.kind == "training" and not str(facts.get("device", "")).startswith("cuda"):
                times = compared_times(figure, evidence.means, self._bases(figure))
                reason = f"training times compare on a CUDA device only; {times}"
                return replace(entry, verdict="not comparable", reason=reason)
            device = str(facts.get("device_name", ""))
            return judge_time(entry, evidence.means, device=device, bases=self._bases(figure))
        return self._trained(entry, evidence)

    def _trained(self, entry: FigureVerdict, evidence: _Evidence) -> FigureVerdict:
        figure = entry.figure
        again = self._command(figure.row, figure.dataset)
        spreads = [self._pools.spread(side, figure) for side in evidence.sides]
        known = [spread for spread in spreads if spread is not None]
        margin = margin_of(self._table, figure)
        planned = max(len(side.planned) for side in evidence.sides)
        looks = max(side.looks for side in evidence.sides)
        entry = replace(entry, verdict="undecided", margin=margin, planned=planned, looks=looks)
        if len(known) < len(spreads):
            return replace(entry, reason="no spread over seeds yet: 3 seeds give one", next=f"{again} --seeds 3")
        counts = [len(values) for values in evidence.values]
        sides = [Side(each, number, figure.runs or 1) for each, number in zip(known, counts, strict=True)]
        lift = expected_maximum(figure.best_of) * known[0].s if figure.best_of else 0.0
        difference = (entry.difference or 0.0) + lift
        beyond = replace(entry, difference=difference).beyond
        error, df = error_of(sides)
        given = {"rounding": figure.rounding, "margin": margin}
        narrow, wide = levels(looks)
        word = number_verdict(beyond, sides, **given, looks=looks)
        needed = seeds_for_number(sides, **given) if word in ("consistent", "differs") else None
        reasons = _doubts(evidence, known, planned)
        provisional = bool(reasons)
        reasons += [known[0].note] if known[0].note else []
        reasons += [f"the print is the best of {figure.best_of}: {lift:.2f} taken off"] if figure.best_of else []
        if word == "differs":
            reasons.append("a gap below the margin is not excluded")
        if word in ("consistent", "differs"):
            reasons.append(_what_decides(figure, sides, needed))
        if figure.runs is None:
            means = [replace(side, runs=3) for side in sides]
            other = number_verdict(beyond, means, **given, looks=looks)
            reasons += [f"were the print a mean of 3 runs: {other}"] if other != word else []
        seeds = max(needed or 0, planned if min(counts) < planned else 0)
        return replace(
            entry,
            verdict=word,
            difference=difference,
            spread=known[0],
            error=error,
            df=df,
            provisional=provisional,
            half_width=half_width(sides, figure.rounding, level=wide),
            narrow=half_width(sides, figure.rounding, level=narrow),
            p=p_value(beyond, sides, figure.rounding),
            seeds_needed=needed,
            reason="; ".join(reasons),
            next=f"{again} --seeds {seeds}" if seeds else "",
        )

    def _unanswered(self, entry: FigureVerdict) -> FigureVerdict | None:
        """Complete a figure that only a server can score and has not: its score on val, and how to submit."""
        figure = entry.figure
        name = next((name for name in reversed(_rows(figure)) if self._table.row(name).server), None)
        if name is None or figure.kind != "trained" or not figure.measured:
            return None
        own = self._variants.rows[name, figure.dataset]
        unsupported = own.training[0].resolved.unsupported
        reason = f"only {self._table.row(name).server} can score it"
        values = [value for record in own.stand_ins if (value := value_of(record, figure)) is not None]
        if values and figure.over is None:
            reason += f"; {STAND_IN} here: {sum(values) / len(values):.2f}"
        if unsupported:
            return replace(entry, verdict="unavailable", reason=f"{reason}; waits for {', '.join(unsupported)}")
        command = self._command(name, figure.dataset)
        if own.stand_ins:
            command = command.replace("segbench reproduce", "segbench export")
        return replace(entry, verdict="unavailable", reason=reason, next=command)

    def _missing(self, entry: FigureVerdict) -> FigureVerdict:
        """Give the reason why nothing was measured: it cannot be, it failed, or it was not run."""
        figure = entry.figure
        if not figure.measured:
            reason = f"{figure.base_metric} is not measured by this version"
            if figure.kind == "time":
                reason = "whole epochs are not timed by this version"
            return replace(entry, verdict="unavailable", reason=reason)
        rows, kind = _rows(figure), record_kinds(figure)[0]
        variants = {name: self._variants.rows[name, figure.dataset].of(kind) for name in rows}
        empty = [name for name in rows if not any(each.records for each in variants[name])]
        for name in empty:
            unsupported = variants[name][0].resolved.unsupported
            if unsupported:
                return replace(entry, verdict="unavailable", reason=f"waits for {', '.join(unsupported)}")
        if empty:
            failed = self._variants.rows[empty[0], figure.dataset].failure
            reason = f"failed: {failed}" if failed else "" if empty[0] == figure.row else f"{empty[0]} is not run"
            return replace(entry, reason=reason, next=self._command(empty[0], figure.dataset))
        if not all(any(values_of(each, figure) for each in variants[name]) for name in rows):
            reason = f"the records hold no {figure.class_name or figure.base_metric}"
            return replace(entry, verdict="unavailable", reason=reason)
        other = next((name for name in rows if not variants[name][0].records), rows[-1])
        reason = "the two rows were not run alike"
        return replace(entry, reason=reason, next=self._command(other, figure.dataset))

    def _split_fault(self, figure: Figure) -> str:
        """Describe a protocol that scores another split than the figure's; empty if it does not."""
        evaluation = self._variants.rows[figure.row, figure.dataset].training[0].resolved.published.evaluation
        if figure.kind not in ("trained", "feature") or figure.split == "unstated" or evaluation is None:
            return ""
        scored = evaluation.data.splits
        return "" if scored == (figure.split,) else f"the protocol scores {'+'.join(scored)}, not {figure.split}"

    def _bases(self, figure: Figure) -> list[Figure]:
        """Return the printed figures behind a gain, an increase or a ratio; empty unless both are printed."""
        found = {
            other.row: other
            for other in self._table.figures()
            if (other.dataset, other.split, other.metric) == (figure.dataset, figure.split, figure.base_metric)
            and other.class_name == figure.class_name
        }
        names = _rows(figure)
        return [found[name] for name in names] if all(name in found for name in names) else []

    def _command(self, row: str, dataset: str) -> str:
        several = len(self._table.datasets(row)) > 1
        return f"segbench reproduce {self._table.name}/{row}" + (f" --dataset {dataset}" if several else "")


def contradictions_of(figure: Figure, contradictions: list[Contradiction]) -> tuple[str, ...]:
    """Return the contradictions of the publication that name a figure, its group or its row."""
    return tuple(each.says for each in contradictions if not {*figure.names}.isdisjoint(each.figures))


def runtime_facts(sides: tuple[RowVariant, ...]) -> list[str]:
    """Describe device, precision and compilation of the runs: recorded, never material."""
    words: dict[str, None] = {}
    for side in sides:
        for record in side.records:
            facts = record.provenance
            device = str(facts.get("device", "")).split(":")[0]
            name = {"cpu": "CPU", "cuda": "CUDA"}.get(device, device)
            words[f"{name} {facts.get('precision', '')}".strip()] = None
            words["torch.compile" if facts.get("compile") else ""] = None
            words["activation checkpointing" if facts.get("checkpoint_activations") else ""] = None
            scored = facts.get("scored")
            words[f"scored by {scored['by']} on {scored['day']}" if scored else ""] = None
    return [word for word in words if word]


def _joined(deviations: list[float | None]) -> float | None:
    """Return the standard deviation of a difference; None if one of its sides has none."""
    return None if None in deviations else sum(s**2 for s in deviations if s is not None) ** 0.5


def _rows(figure: Figure) -> list[str]:
    """Return the figure's row and the one that it is over, if any."""
    return [figure.row, *([figure.over] if figure.over is not None else [])]


def _doubts(evidence: _Evidence, spreads: Sequence[Spread], planned: int) -> list[str]:
    """Return why a verdict is provisional; empty if it is not."""
    fewest = min(len(values) for values in evidence.values)
    found = ["one seed"] if fewest == 1 else []
    found += [f"{fewest} of {planned} planned seeds"] if fewest < planned else []
    return found + list(dict.fromkeys(f"spread of {spread.source}" for spread in spreads if spread.source))


def _what_decides(figure: Figure, sides: Sequence[Side], needed: int | None) -> str:
    """Say how many seeds would decide, or why none can and which margin could be decided."""
    if needed:
        return f"{needed:,} seeds would decide in 80 % of cases"
    runs = "one run" if figure.runs in (None, 1) else f"{figure.runs} runs"
    least = smallest_margin(sides, rounding=figure.rounding)
    return f"no number of seeds can decide: the print is {runs}; a margin of {least:.2f} could be"
