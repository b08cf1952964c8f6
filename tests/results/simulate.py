"""Draws of a publication and of our own runs from known truths, judged through store, comparison and words.

    python -m tests.results.simulate

prints the two tables of docs/verdicts.md.
"""

import math
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from segbench.recipe.catalog import Catalog, load_catalog
from segbench.recipe.resolve import Request, resolve
from segbench.results.compare import compare_table
from segbench.results.record import Attempt, Record
from segbench.results.store import Store
from segbench.results.verdicts import FigureVerdict, Gain
from tests.results.conftest import BUDGETS, HEAD

ROWS = 8
GAIN = 0.7  # the gain that the table claims, so that its margin is half of it unless it is set


@dataclass(frozen=True)
class Truth:
    """A world to draw from.

    Attributes:
        seeds: n of every row.
        runs: m behind every printed number.
        s: deviation over seeds, of the first row; ``unequal`` is the factor of the others'.
        margin: M.
        rows: number of rows with records, which are pooled.
        correlation: between the rows, of equal seeds.
        gap: true value here less the true published value, in margins.
        gain: true gain of the second row over the first.
    """

    seeds: int
    runs: int = 1
    s: float = 0.3
    margin: float = 0.7
    rows: int = 8
    correlation: float = 0.0
    unequal: float = 1.0
    gap: float = 0.0
    gain: float = GAIN


class Memory(Store):
    """A store whose records are in memory."""

    def __init__(self, records: Sequence[Record], attempts: Sequence[Attempt]) -> None:
        super().__init__(Path("nowhere"))
        self.held, self.asked = records, attempts

    def records(self) -> Iterator[Record]:
        return iter(self.held)

    def attempts(self, table: str | None = None) -> list[Attempt]:
        return list(self.asked)


class Simulation:
    """One table of eight rows; the second improves on the first."""

    def __init__(self, root: Path, seed: int = 0) -> None:
        (root / "made").mkdir(parents=True)
        (root / "budgets.yaml").write_text(BUDGETS)
        self.root, self.random = root, np.random.default_rng(seed)
        self._catalogs: dict[tuple[int, float], Catalog] = {}
        self._specs: dict[tuple[int, int], dict[str, Any]] = {}

    def draw(self, truth: Truth, cases: int, *, advised: int = 0) -> Iterator[tuple[FigureVerdict, Gain | None]]:
        """Yield the verdict of the first row's figure and the gain of the second, case by case.

        Args:
            truth: world to draw from.
            cases: number of cases.
            advised: 0, or the most seeds that are added to the first row where a verdict asks for them; the verdict
                is then the one with them.
        """
        catalog = self._catalog(truth)
        figures = {figure.row: figure for figure in catalog.tables["made-one"].figures()}
        printed = np.array([figures[f"r{row}"].value for row in range(truth.rows)])
        deviations = np.array([truth.s, *[truth.s * truth.unequal] * (truth.rows - 1)])
        ours, common = math.sqrt(1 - truth.correlation), math.sqrt(truth.correlation)
        most = max(truth.seeds, advised)
        for _ in range(cases):
            # The published value is fixed in the recipe, so its noise is moved into ours.
            errors = self.random.normal(0, deviations / math.sqrt(truth.runs))
            noise = common * self.random.normal(size=most) + ours * self.random.normal(size=(truth.rows, most))
            true = printed - errors + truth.gap * truth.margin
            if truth.rows > 1:
                true[1] = true[0] + truth.gain  # no print enters a gain here
            values = true[:, None] + deviations[:, None] * noise
            entry, gain = self._judge(catalog, [row[: truth.seeds] for row in values])
            if entry.seeds_needed and truth.seeds < entry.seeds_needed <= advised:
                more = [values[0, : entry.seeds_needed], *(row[: truth.seeds] for row in values[1:])]
                entry, gain = self._judge(catalog, more, looks=2)
            yield entry, gain

    def _judge(
        self, catalog: Catalog, values: Sequence[np.ndarray], *, looks: int = 1
    ) -> tuple[FigureVerdict, Gain | None]:
        given = {"table": "made-one", "row": "r0", "dataset": "camvid", "training": "t", "evaluation": "e"}
        asked = [Attempt(seed=seed, look=looks, **given) for seed in range(len(values[0]))]
        report = compare_table(catalog, "made-one", Memory(list(self._records(catalog, values)), asked))
        entry = next(each for each in report.entries if each.figure.row == "r0")
        return entry, next((gain for gain in report.gains if gain.row == "r1"), None)

    def _records(self, catalog: Catalog, values: Sequence[np.ndarray]) -> Iterator[Record]:
        for row, scores in enumerate(values):
            for seed, score in enumerate(scores):
                key = row, seed
                if key not in self._specs:
                    ran = resolve(catalog, "made-one", f"r{row}", "camvid", Request(seed=seed)).ran
                    assert ran.training is not None and ran.evaluation is not None
                    self._specs[key] = {
                        "id": f"{row}-{seed}", "training": ran.training.id(), "family": ran.training.family(),
                        "training_spec": ran.training.canonical(), "evaluation_spec": ran.evaluation.canonical(),
                    }  # fmt: skip
                yield Record.model_construct(
                    kind="training", seed=seed, dataset="camvid", split="test", figures={"miou": float(score)},
                    **self._specs[key],
                )  # fmt: skip

    def _catalog(self, truth: Truth) -> Catalog:
        key = truth.runs, truth.margin
        if key not in self._catalogs:
            folder = self.root / f"{truth.runs}-{truth.margin}"
            (folder / "made").mkdir(parents=True)
            (folder / "budgets.yaml").write_text(BUDGETS)
            rows = "".join(
                f"  r{row}: {{method: {{alpha: 0.{row + 1}}}, {'over: r0, ' if row == 1 else ''}"
                f'figures: {{camvid.test: {{runs: {truth.runs}, miou: "{70 + (GAIN if row == 1 else 0):.2f}"}}}}}}\n'
                for row in range(ROWS)
            )
            body = f"margin: {{miou: {truth.margin}}}\nrows:\n{rows}"
            (folder / "made" / "made-one.yaml").write_text(HEAD.replace("TABLE", "made-one") + body)
            self._catalogs[key] = load_catalog(folder)
        return self._catalogs[key]


def shares(
    simulation: Simulation, truth: Truth, cases: int, *, advised: int = 0
) -> tuple[Counter[str], Counter[str], float]:
    """Return how often each word is said of the number and of the gain, and how often its interval holds the truth."""
    words: Counter[str] = Counter()
    answers: Counter[str] = Counter()
    held = 0
    for entry, gain in simulation.draw(truth, cases, advised=advised):
        words[entry.verdict] += 1
        if gain is not None:
            answers[gain.answer] += 1
            held += gain.half_width is not None and abs(gain.measured - truth.gain) <= gain.half_width + 0.005
    return words, answers, held / cases


TABLE = [
    Truth(seeds, runs, s) for s, runs in ((0.3, 1), (0.3, 3), (0.8, 1), (0.8, 3)) for seeds in (1, 3, 5)
]  # fmt: skip


HARD = {
    "seeds of equal number move together, correlation 0.3": (Truth(3, 3, correlation=0.3), 0),
    "seeds of equal number move together, correlation 0.6": (Truth(3, 3, correlation=0.6), 0),
    "this row scatters twice as much as the others": (Truth(3, 3, 0.6, unequal=0.5), 0),
    "this row scatters twice as much, five seeds": (Truth(5, 3, 0.6, unequal=0.5), 0),
    "this row scatters half as much as the others": (Truth(3, 3, unequal=2.0), 0),
    "seeds are added as advised, up to 12": (Truth(3, 3), 12),
    "seeds are added as advised, up to 12, two rows": (Truth(2, 3, 0.5, 1.0, rows=2), 12),
}


def main(cases: int = 1000) -> None:
    """Print how often each word is said in plain worlds, and how often a wrong one in worlds against its premises."""
    simulation = Simulation(Path(tempfile.mkdtemp()))
    plain(simulation, cases)
    print()
    hard(simulation, 2 * cases)


def hard(simulation: Simulation, cases: int) -> None:
    """Print the shares of wrong words where seeds or rows are unlike what the intervals suppose."""
    print("| world (n, m) | wrong at gap 0 | reproduced at gap M | gain holds at 0 |")
    print("| --- | ---: | ---: | ---: |")
    for name, (truth, advised) in HARD.items():
        words = [shares(simulation, replace(truth, gap=gap), cases, advised=advised)[0] for gap in (0.0, 1.0)]
        none = shares(simulation, replace(truth, gain=0.0), cases, advised=advised)[1]["gain holds"]
        wrong = sum(words[0][word] for word in ("lower", "higher", "differs"))
        texts = [f"{100 * count / cases:.1f} %" for count in (wrong, words[1]["reproduced"], none)]
        print(f"| {name} ({truth.seeds}, {truth.runs}) | {' | '.join(texts)} |")


def plain(simulation: Simulation, cases: int) -> None:
    """Print the shares of the words at gaps of 0, 1 and 2 margins, and of the gain's at 0 and at the printed gain."""
    titles = ["n", "m", "s", "reproduced / consistent at gap 0", "wrong at gap 0", "reproduced at gap M"]
    titles += ["reproduced at gap 2 M", "gain holds at 0.7", "gain holds at 0"]
    print(f"| {' | '.join(titles)} |")
    print("| ---: " * 9 + "|")
    for truth in TABLE:
        words = [shares(simulation, replace(truth, gap=gap), cases) for gap in (0.0, 1.0, 2.0)]
        none = shares(simulation, replace(truth, gain=0.0), cases)[1]["gain holds"]
        right = [words[0][0][name] for name in ("reproduced", "consistent")]
        wrong = sum(words[0][0][name] for name in ("lower", "higher", "differs"))
        numbers = [*right, wrong, words[1][0]["reproduced"], words[2][0]["reproduced"], words[0][1]["gain holds"], none]
        texts = [f"{100 * count / cases:.1f} %" for count in numbers]
        print(f"| {truth.seeds} | {truth.runs} | {truth.s} | {texts[0]} / {texts[1]} | {' | '.join(texts[2:])} |")


if __name__ == "__main__":
    main()
