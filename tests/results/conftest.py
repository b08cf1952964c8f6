"""A small catalog and a store to fill by hand."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from segbench.core.spec import EvaluationSpec
from segbench.recipe.catalog import Catalog, load_catalog
from segbench.recipe.cost import cost_family
from segbench.recipe.resolve import Request, resolve
from segbench.results.record import Attempt, Record
from segbench.results.store import Store

BUDGETS = """
schema: 1
budgets:
  tiny: {says: tiny, max_steps: 10}
  small: {says: small, max_steps: 50}
"""

HEAD = """
schema: 1
version: 1
table: TABLE
title: A made table
source: nowhere
data: {name: camvid}
model: {backbone: {name: hrnetv2, width: 18}, decoder: {name: concat}}
method: {name: contextrast}
schedule: {steps: 100, batch_total: 4, crop: [64, 64], validate_every: 20, optimizer: {name: sgd, lr: 1e-1}}
evaluation: {split: test}
"""


@dataclass
class Lab:
    """Writes tables and records; every record is what a run of that request would leave behind."""

    root: Path
    catalog: Catalog
    store: Store

    def run(
        self,
        table: str,
        row: str,
        values: Sequence[float | None] = (),
        *,
        metric: str = "miou",
        request: Request | None = None,
        seeds: Sequence[int] | None = None,
        asked: bool = False,
        dataset: str = "camvid",
        evaluation: EvaluationSpec | None = None,
        **extra: Any,
    ) -> None:
        request = request or Request()
        for seed, value in zip(seeds or range(len(values)), values, strict=True):
            asking = replace(request, seed=seed)
            ran = resolve(self.catalog, table, row, dataset, asking).ran
            assert ran.training is not None
            assert ran.evaluation is not None
            training = ran.training.id()
            scored = evaluation or ran.evaluation
            name = f"{training}-{scored.id()}"
            fields: dict[str, Any] = {"figures": {metric: value}, **extra}
            self.store.write(
                Record(
                    id=name, kind="training", training=training, family=ran.training.family(), seed=seed,
                    budget=request.budget, dataset=dataset, split=scored.data.splits[0],
                    training_spec=ran.training.canonical(), evaluation_spec=scored.canonical(), **fields,
                )
            )  # fmt: skip
            if asked:
                self.ask(table, row, request, seed=seed, training=training, evaluation=name)

    def ask(
        self,
        table: str,
        row: str,
        request: Request,
        *,
        seed: int = 0,
        training: str = "t",
        evaluation: str = "e",
    ) -> None:
        self.store.note_attempt(
            Attempt(
                table=table, row=row, dataset="camvid", budget=request.budget, seed=seed,
                readings=dict(request.readings), settings=dict(request.settings), on=request.on, training=training,
                evaluation=evaluation,
            )
        )  # fmt: skip

    def count(self, table: str, row: str, *, dataset: str = "camvid", **figures: float) -> None:
        family = cost_family(resolve(self.catalog, table, row, dataset))
        self.store.write(
            Record(
                id=f"{table}-{row}-cost", kind="cost", training="none", family=family, dataset=dataset,
                split="train", figures=figures,
            )
        )  # fmt: skip


@pytest.fixture
def lab(tmp_path: Path):  # type: ignore[no-untyped-def]
    def build(**tables: str) -> Lab:
        root = tmp_path / "recipes"
        (root / "made").mkdir(parents=True)
        (root / "budgets.yaml").write_text(BUDGETS)
        for name, body in tables.items():
            table = name.replace("_", "-")
            (root / "made" / f"{table}.yaml").write_text(HEAD.replace("TABLE", table) + body)
        return Lab(root, load_catalog(root), Store(tmp_path / "results"))

    return build
