"""What the specs can say and this version cannot do yet: one list for plans, for `list` and for refusals."""

from dataclasses import dataclass
from typing import Any

from . import registry
from .spec import StageSpec, TrainingSpec


@dataclass(frozen=True)
class Lack:
    """A setting that would have to be ignored, so that it is refused."""

    path: str
    value: Any
    only: str

    def __str__(self) -> str:
        return f"{self.path}: {self.value!r} is not supported yet, only {self.only} is."

    @property
    def wait(self) -> str:
        """What a row that needs it waits for."""
        return f"{self.path.rsplit('.', 1)[-1]} {self.value}"


def of_stage(stage: StageSpec) -> list[Lack]:
    """What of a stage is not built."""
    lacks = [] if stage.schedule.ema_decay is None else [Lack("schedule.ema_decay", stage.schedule.ema_decay, "none")]
    name = stage.method.name
    served = registry.options_of("method", name).can_emit if registry.is_registered("method", name) else ("weights",)
    if stage.emits not in served:
        lacks.append(Lack("emits", stage.emits, " and ".join(map(repr, served))))
    return lacks


def of_training(training: TrainingSpec) -> list[Lack]:
    """What of a training is not built."""
    return list(dict.fromkeys(lack for stage in training.stages for lack in of_stage(stage)))
