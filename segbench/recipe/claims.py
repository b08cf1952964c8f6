"""Claims of publications: sentences that can be checked, with the rows that they are about."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StrictStr, model_validator

from segbench.core.spec.base import Spec

from .figures import METRICS

CHECKS = ("harder-negatives",)  # calculations of results/mechanisms
Kind = Literal["order", "range", "lead", "invariance", "mechanism"]


def _place(text: str) -> str:
    parts = text.split(".")
    if len(parts) != 3 or parts[2] not in METRICS:
        raise ValueError(f"{text!r} is no place: write DATASET.SPLIT.METRIC, like cityscapes.val.miou")
    return text


Place = Annotated[StrictStr, AfterValidator(_place)]


class Claim(Spec):
    """One sentence of a publication; its rows are those of ``table``, or of another table as ``TABLE/ROW``.

    - ``order``: of every pair the first row is above the second (below it if ``lower``).
    - ``range``: of every pair the first row is above the second by ``low`` to ``high``; in percent of the second if
      ``percent``.
    - ``lead``: the first of ``rows`` is above all others.
    - ``invariance``: the rows of every pair deploy the same network.
    - ``mechanism``: a calculation by its name, see ``results/mechanisms``.
    """

    name: StrictStr
    sentence: StrictStr
    where: StrictStr = Field(description="place in the publication")
    kind: Kind
    table: StrictStr | None = None
    at: tuple[Place, ...] = ()
    pairs: tuple[tuple[StrictStr, StrictStr], ...] = ()
    rows: tuple[StrictStr, ...] = ()
    low: float | None = None
    high: float | None = None
    percent: bool = False
    lower: bool = False
    check: StrictStr | None = None
    note: StrictStr = ""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.kind == "mechanism":
            if self.check is None:
                raise ValueError("a mechanism must name its check")
            if self.check not in CHECKS:
                raise ValueError(f"no calculation {self.check!r}; there is {', '.join(CHECKS)}")
            return self
        if self.table is None or not (self.all_pairs or self.kind == "invariance"):
            raise ValueError(f"{self.kind} must name a table, and pairs of rows or at least two rows")
        if self.kind != "invariance" and not self.at:
            raise ValueError(f"{self.kind} must say at which data set, split and metric")
        if self.kind == "range" and self.low is None and self.high is None:
            raise ValueError("range must have low or high")
        return self

    @property
    def all_pairs(self) -> tuple[tuple[str, str], ...]:
        """Pairs of rows, the better one first."""
        return (*self.pairs, *((self.rows[0], other) for other in self.rows[1:]))

    @property
    def tables(self) -> tuple[str, ...]:
        """Tables of its rows."""
        rows = (name for pair in self.all_pairs for name in pair)
        return tuple(dict.fromkeys(self.full(name).rpartition("/")[0] for name in rows))

    def full(self, row: str) -> str:
        """Return a row as ``TABLE/ROW``."""
        return row if "/" in row else f"{self.table}/{row}"


class ClaimsFile(Spec):
    """``recipes/<paper>/claims.yaml``."""

    schema_: Literal[1] = Field(alias="schema")
    paper: StrictStr
    claims: list[Claim]

    @model_validator(mode="after")
    def _names_once(self) -> Self:
        names = [claim.name for claim in self.claims]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"claims named twice: {', '.join(twice)}")
        return self
