"""Settings that the specs allow and this version does not support yet; used by plans, `list` and the engine."""

from dataclasses import dataclass
from typing import Any

from . import registry
from .spec import Options, StageSpec, TrainingSpec


@dataclass(frozen=True)
class Unsupported:
    """An unsupported setting. It is refused rather than ignored.

    Attributes:
        path: dotted path of the setting.
        value: its value.
        only: supported values, as they stand in the message.
        why: reason, as it follows "as"; empty if it is simply not built.
    """

    path: str
    value: Any
    only: str
    why: str = ""

    def __str__(self) -> str:
        if self.why:
            return f"{self.path}: {self.value!r} is refused, as {self.why}."
        return f"{self.path}: {self.value!r} is not supported yet, only {self.only} is."

    @property
    def wait(self) -> str:
        """Return a short name of the setting, shown for rows that need it."""
        name = f"{self.path.rsplit('.', 1)[-1]} {self.value}"
        return f"{name}, which is refused as {self.why}" if self.why else name


def of_stage(stage: StageSpec) -> list[Unsupported]:
    """Return the unsupported settings of a stage."""
    found = (
        []
        if stage.schedule.ema_decay is None
        else [Unsupported("schedule.ema_decay", stage.schedule.ema_decay, "none")]
    )
    name = stage.method.name
    options = registry.options_of("method", name) if registry.is_registered("method", name) else Options
    if stage.micro_batches > 1 and options.whole_batches is not None:
        why = f"the method {name} needs whole batches: {options.whole_batches}"
        found.append(Unsupported("schedule.micro_batch", stage.schedule.micro_batch, "none", why))
    return found


def of_training(training: TrainingSpec) -> list[Unsupported]:
    """Return the unsupported settings of a training, each once."""
    return list(dict.fromkeys(setting for stage in training.stages for setting in of_stage(stage)))
