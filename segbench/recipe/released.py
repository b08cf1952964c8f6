"""Weights that a publication's authors released, and the rows that they stand for."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StrictStr, model_validator

from segbench.core.spec.base import Spec

from .schema import Confidence


def _row(text: str) -> str:
    table, slash, row = text.partition("/")
    if not (table and slash and row):
        raise ValueError(f"{text!r} is no row: write TABLE/ROW")
    return text


class ReleasedWeights(Spec):
    """A registered checkpoint that stands for a row on one data set.

    ``by`` is ``authors`` for weights of the publication's own authors, ``same print`` for those of another project that
    publishes the very figure of the row for them. ``differs`` is what sets their training apart from the row's.
    """

    checkpoint: StrictStr
    row: Annotated[StrictStr, AfterValidator(_row)]
    dataset: StrictStr
    by: Literal["authors", "same print"] = "authors"
    differs: StrictStr = ""

    @property
    def table(self) -> str:
        return self.row.partition("/")[0]

    @property
    def name(self) -> str:
        """Row without its table."""
        return self.row.partition("/")[2]


class ReleasedFile(Spec):
    """``recipes/<paper>/released.yaml``.

    Attributes:
        says: one sentence on what the authors released.
        source: where that was read; ``confidence`` of a release that was looked for and not found.
        weights: registered checkpoints; empty if none was released.
    """

    schema_: Literal[1] = Field(alias="schema")
    paper: StrictStr
    says: StrictStr
    source: StrictStr
    confidence: Confidence = "high"
    weights: tuple[ReleasedWeights, ...] = ()

    @model_validator(mode="after")
    def _once(self) -> Self:
        rows = [(each.row, each.dataset) for each in self.weights]
        twice = sorted({row for row, _ in (pair for pair in rows if rows.count(pair) > 1)})
        if twice:
            raise ValueError(f"weights of {', '.join(twice)} are named twice")
        return self

    def of_row(self, table: str, row: str, dataset: str) -> ReleasedWeights | None:
        """Return the weights of a row on a data set; None if none were released."""
        wanted = (f"{table}/{row}", dataset)
        return next((each for each in self.weights if (each.row, each.dataset) == wanted), None)
