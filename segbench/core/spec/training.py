"""A training: its stages and its seed."""

from typing import Self

from pydantic import Field, model_validator

from .base import Spec, digest
from .stage import StageSpec


class TrainingSpec(Spec):
    """Everything that decides the weights."""

    stages: tuple[StageSpec, ...] = Field(min_length=1)
    seed: int = 0

    @model_validator(mode="after")
    def _stages_in_order(self) -> Self:
        seen: set[str] = set()
        for stage in self.stages:
            for key, name in stage.references:
                if name not in seen:
                    raise ValueError(f"{key} of stage {stage.name!r} is {name!r}, which is no earlier stage")
            seen.add(stage.name)
        return self

    def family(self) -> str:
        """Return the id without the seed: runs that differ by seed alone share it."""
        data = self.canonical()
        data.pop("seed", None)
        return digest(data)

    def prefix_id(self, stages: int) -> str:
        """Return the id of the first ``stages`` stages, shared by all trainings that begin with them."""
        return TrainingSpec(stages=self.stages[:stages], seed=self.seed).id()
