"""What the specs can say and this version cannot do yet: one list for plans, for `list` and for refusals."""

from dataclasses import dataclass
from typing import Any

from .spec import AugmentationSpec, StageSpec, SubsetSpec, TrainingSpec


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


def of_augmentation(spec: AugmentationSpec) -> list[Lack]:
    """What of a sample's augmentation is not built."""
    plain = {"blur": (0.0,), "rotation": (0.0,), "classmix": (0.0,), "interpolation": ("bilinear", "bicubic")}
    lacks = [
        Lack(f"augmentation.{name}", getattr(spec, name), " or ".join(repr(value) for value in known))
        for name, known in plain.items()
        if getattr(spec, name) not in known
    ]
    if spec.jitter is not None and spec.jitter.style != "torchvision":
        lacks.append(Lack("augmentation.jitter.style", spec.jitter.style, "'torchvision'"))
    return lacks


def of_subset(spec: SubsetSpec) -> list[Lack]:
    """What of a labelled subset is not built."""
    lacks = [] if spec.rule == "random" else [Lack("data.subset.rule", spec.rule, "'random'")]
    return lacks + ([] if spec.order == "sorted" else [Lack("data.subset.order", spec.order, "'sorted'")])


def of_stage(stage: StageSpec) -> list[Lack]:
    """What of a stage is not built, its streams included."""
    lacks = [] if stage.schedule.ema_decay is None else [Lack("schedule.ema_decay", stage.schedule.ema_decay, "none")]
    if stage.emits != "weights":
        lacks.append(Lack("emits", stage.emits, "'weights'"))
    for stream in stage.streams.values():
        lacks += of_augmentation(stream.augmentation)
        lacks += of_subset(stream.data.subset) if stream.data.subset is not None else []
    return list(dict.fromkeys(lacks))


def of_training(training: TrainingSpec) -> list[Lack]:
    """What of a training is not built."""
    return list(dict.fromkeys(lack for stage in training.stages for lack in of_stage(stage)))
