"""Specs: frozen, torch-free types of everything that decides a number, and the ids that follow from them.

A spec's id hashes its canonical JSON *without defaults*: a new field with a default never changes an old id.
Each field knows whether a difference in it is *material* for a comparison with a publication, and whether it counts
optimizer steps, so that a budget scales it in proportion.
"""

from .augmentation import AugmentationSpec, BlurSpec, ClassUniformSpec, JitterSpec
from .base import Options, Size, Spec, digest, setting
from .choice import Choice
from .cost import CostSpec
from .data import DataSpec, StreamNames, StreamSpec, SubsetSpec
from .evaluation import EvaluationSpec, FeatureSpec, PadSpec, evaluation_id
from .model import InputSpec, ModelSpec, WeightsSpec
from .schedule import OptimizerSpec, PolicySpec, ScheduleSpec
from .stage import StageSpec
from .training import TrainingSpec

__all__ = [
    "AugmentationSpec",
    "BlurSpec",
    "Choice",
    "ClassUniformSpec",
    "CostSpec",
    "DataSpec",
    "EvaluationSpec",
    "FeatureSpec",
    "InputSpec",
    "JitterSpec",
    "ModelSpec",
    "OptimizerSpec",
    "Options",
    "PadSpec",
    "PolicySpec",
    "ScheduleSpec",
    "Size",
    "Spec",
    "StageSpec",
    "StreamNames",
    "StreamSpec",
    "SubsetSpec",
    "TrainingSpec",
    "WeightsSpec",
    "digest",
    "evaluation_id",
    "setting",
]
