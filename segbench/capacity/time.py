"""Time and memory of trainings, from a short probe of the method on this machine, scaled by FLOPs."""

import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch

from segbench.checkpoints.training_state import saved_step
from segbench.core.spec import EvaluationSpec, ModelSpec, Size, StageSpec, TrainingSpec
from segbench.data.batch import Batch
from segbench.data.classes import class_table
from segbench.data.facts import facts
from segbench.engine.features import require_layer
from segbench.engine.folder import STATE, read_summary
from segbench.engine.recompute import checkpoint_activations
from segbench.engine.runtime import Runtime
from segbench.methods.base import Method
from segbench.methods.build import build_method, teachers_of
from segbench.methods.step import StepInfo
from segbench.metrics.cost import count_cost
from segbench.results.store import Store

from .memory import training_memory

SMALL: Size = (128, 128)
CHEAP_MACS = 5e9  # of the forward pass of a whole step: below this the step itself is the probe
PROBE_SECONDS = 0.5
BACKWARD = 3.0  # a training step costs about three forward passes
OVERLAP = 2.0  # how often a pixel of a training image is in a window where a method gathers from windows


@dataclass(frozen=True)
class Estimate:
    """Estimate for one training with one evaluation.

    Attributes:
        seconds: of both.
        memory_bytes: of a training step, see ``memory``.
    """

    seconds: float
    memory_bytes: int


@dataclass(frozen=True)
class Probe:
    """Result of a probe of a stage.

    Attributes:
        seconds: of a step.
        gathers: the method sees training images before each evaluation.
        images: about how many; None for all.
        layers: of the encoder.
    """

    seconds: float
    gathers: bool = False
    images: int | None = None
    layers: int = 0


def estimate(
    training: TrainingSpec,
    evaluation: EvaluationSpec,
    runtime: Runtime,
    probes: dict[Any, Probe],
    *,
    done: Sequence[int] = (),
) -> Estimate:
    """Estimate time and memory of a training with one evaluation.

    Args:
        training: the training.
        evaluation: of its weights.
        runtime: the machine.
        probes: by network, method, crop and batch; new ones are added.
        done: steps of each stage that are done already; empty for none.

    Raises:
        InvalidFault: the evaluation asks for features of a layer that the network does not have.
    """
    memory = training_memory(training, precision=runtime.precision, checkpoint=runtime.checkpoint_activations)
    seconds = 0.0
    for stage, begun in zip(training.stages, done or [0] * len(training.stages), strict=True):
        stream = stage.primary_stream
        images = sum(item.batch_total for item in stage.streams.values())
        teachers = teachers_of(stage, training)
        key = (stage.model.id(), stage.method.name, stream.crop, images, stage.micro_batches)
        if key not in probes:
            probes[key] = _probe(stage, images, runtime, fits=_fits(memory.total, runtime), teachers=teachers)
        per_step = probes[key].seconds
        seconds += per_step * (stage.schedule.steps - begun)
        crop = prod(stream.crop)
        per_pixel = per_step / images / BACKWARD / crop
        if stage.schedule.validate_every:
            every = stage.schedule.validate_every
            rounds = stage.schedule.steps // every - begun // every
            seconds += rounds * _pixels(stage, EvaluationSpec(data=stream.data), split="val") * per_pixel
        if probes[key].gathers:
            seconds += _gathered_pixels(stage, probes[key].images) * per_pixel
    if evaluation.features is not None:
        require_layer(evaluation.features, probes[key].layers)
    passes = sum(scale**2 for scale in evaluation.scales) * (2 if evaluation.flip else 1)
    seconds += passes * _pixels(training.stages[-1], evaluation, split=evaluation.data.splits[0]) * per_pixel
    return Estimate(seconds, memory.total)


def _pixels(stage: StageSpec, evaluation: EvaluationSpec, *, split: str, most: int | None = None) -> float:
    """Return the pixels of a whole split, or of ``most`` images of it, at the size of the evaluation."""
    data = evaluation.data
    crop = stage.primary_stream.crop
    if data.source == "generated":
        return float(min(data.images or 1, most or sys.maxsize) * prod(crop))
    known = facts(data.name)
    size = data.size or tuple(side * data.scale for side in known.native_size or crop)
    return float(min(known.splits.get(split, (0,))[0], most or sys.maxsize) * prod(size))


def _gathered_pixels(stage: StageSpec, images: int | None) -> float:
    """Return the pixels of the windows of training images before every validation and at the end."""
    schedule, stream = stage.schedule, stage.primary_stream
    times = math.ceil(schedule.steps / (schedule.validate_every or schedule.steps))
    evaluation = EvaluationSpec(data=stream.data)
    return times * OVERLAP * _pixels(stage, evaluation, split=stream.data.splits[0], most=images)


def steps_done(training: TrainingSpec, store: Store) -> list[int]:
    """Return the steps of each stage that the store holds already, finished or begun."""
    found = []
    for number, stage in enumerate(training.stages, 1):
        folder = store.training_folder(training.prefix_id(number))
        whole = read_summary(folder) is not None
        found.append(stage.schedule.steps if whole else min(saved_step(folder / STATE), stage.schedule.steps))
    return found


def _fits(memory_bytes: int, runtime: Runtime) -> bool:
    """Return True if the device has the memory for a step of full size."""
    there = runtime.memory_bytes()
    return there is None or memory_bytes <= there


def _probe(stage: StageSpec, images: int, runtime: Runtime, *, fits: bool, teachers: Mapping[str, ModelSpec]) -> Probe:
    """Time one step of a stage at its full crop and batch, from a forward and backward pass."""
    stream = stage.primary_stream
    num_classes = class_table(stream.data.classes or stream.data.name).num_classes
    method = build_method(stage, num_classes=num_classes, teachers=teachers)
    full = count_cost(method.predictor(), stream.crop)
    crop, batch, scale = stream.crop, images // stage.micro_batches, float(stage.micro_batches)
    if not (runtime.is_cuda and fits) and full.multiply_adds * images > CHEAP_MACS:
        crop, batch = (min(SMALL[0], crop[0]), min(SMALL[1], crop[1])), min(2, batch)
        scale = full.multiply_adds * images / (count_cost(method.predictor(), crop).multiply_adds * batch)
    runtime.place(method).train()
    if runtime.checkpoint_activations:
        checkpoint_activations(method.segmentor.backbone)
    batches = {
        name: Batch(
            torch.randn(batch, 3, *crop, device=runtime.device),
            torch.randint(0, num_classes, (batch, *crop), device=runtime.device),
        )
        for name in stage.streams
    }
    _step(method, batches, runtime)  # warm-up; a training pays for it once, too
    seconds = _step(method, batches, runtime)
    if seconds < PROBE_SECONDS:  # short ones vary
        seconds = min(seconds, *(_step(method, batches, runtime) for _ in range(2)))
    gatherer = method.gatherer()
    layers = len(method.predictor().layer_strides)
    return Probe(scale * seconds, gatherer is not None, None if gatherer is None else gatherer.images, layers)


def _step(method: Method, batches: dict[str, Batch], runtime: Runtime) -> float:
    runtime.synchronize()
    start = time.perf_counter()
    with runtime.autocast():
        terms = method(batches, StepInfo(10**9, 10**9))  # past every warm-up
    torch.stack([term.float() for term in terms.values()]).sum().backward()
    method.zero_grad(set_to_none=True)
    runtime.synchronize()
    return time.perf_counter() - start
