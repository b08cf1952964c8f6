"""How long and how much: a short probe of the real method on this machine, scaled by FLOPs."""

import time
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from segbench.core.spec import EvaluationSpec, Size, StageSpec, TrainingSpec
from segbench.data.batch import Batch
from segbench.data.classes import class_table
from segbench.data.facts import facts
from segbench.engine.runtime import Runtime
from segbench.methods.base import Method
from segbench.methods.build import build_method
from segbench.metrics.cost import count_cost

from .plan import Plan

SMALL: Size = (128, 128)
CHEAP_MACS = 2e10  # of a whole step: below this the step itself is the probe
BACKWARD = 3.0  # a training step costs about three forward passes


@dataclass(frozen=True)
class Estimate:
    """Of one training with one evaluation.

    Attributes:
        seconds: of both.
        memory_bytes: weights, gradients, momentum and kept activations; rough.
    """

    seconds: float
    memory_bytes: int


def estimate_plan(plan: Plan, runtime: Runtime) -> None:
    """Fill in seconds and memory of every item that runs; equal networks and methods are probed once."""
    probed: dict[Any, tuple[float, int]] = {}
    for spec, items in plan.trainings().values():
        evaluation = items[0].resolved.ran.evaluation
        assert evaluation is not None
        estimate = _estimate(spec, evaluation, runtime, probed)
        items[0].seconds, items[0].memory_bytes = estimate.seconds, estimate.memory_bytes


def _estimate(
    training: TrainingSpec, evaluation: EvaluationSpec, runtime: Runtime, probed: dict[Any, tuple[float, int]]
) -> Estimate:
    seconds, memory = 0.0, 0
    for stage in training.stages:
        stream = next(iter(stage.streams.values()))
        images = sum(item.batch_total for item in stage.streams.values())
        key = (stage.model.id(), stage.method.name, stream.crop, images)
        if key not in probed:
            probed[key] = _probe(stage, images, runtime)
        per_step, kept = probed[key]
        seconds += per_step * stage.schedule.steps
        memory = max(memory, kept)
        crop = prod(stream.crop)
        per_pixel = per_step / images / BACKWARD / crop
        if stage.schedule.validate_every:
            rounds = stage.schedule.steps // stage.schedule.validate_every
            seconds += rounds * _pixels(stage, EvaluationSpec(data=stream.data), split="val") * per_pixel
    passes = sum(scale**2 for scale in evaluation.scales) * (2 if evaluation.flip else 1)
    seconds += passes * _pixels(training.stages[-1], evaluation, split=evaluation.data.splits[0]) * per_pixel
    return Estimate(seconds, memory)


def _pixels(stage: StageSpec, evaluation: EvaluationSpec, *, split: str) -> float:
    """Pixels of a whole split at the size of the evaluation."""
    data = evaluation.data
    crop = next(iter(stage.streams.values())).crop
    if data.source == "generated":
        return float((data.images or 1) * prod(crop))
    known = facts(data.name)
    size = data.size or tuple(side * data.scale for side in known.native_size or crop)
    return float(known.splits.get(split, (0,))[0] * prod(size))


def _probe(stage: StageSpec, images: int, runtime: Runtime) -> tuple[float, int]:
    """Seconds of one step, and bytes kept, of a stage at its full crop and batch."""
    stream = next(iter(stage.streams.values()))
    num_classes = class_table(stream.data.classes or stream.data.name).num_classes
    method = build_method(stage, num_classes=num_classes)
    full = count_cost(method.predictor(), stream.crop).multiply_adds * images
    crop, batch = stream.crop, images
    if not runtime.is_cuda and full > CHEAP_MACS:
        crop, batch = (min(SMALL[0], crop[0]), min(SMALL[1], crop[1])), 2
    probe = count_cost(method.predictor(), crop).multiply_adds * batch
    memory = _kept_bytes(method, stream.crop) * images
    memory += 16 * sum(parameter.numel() for parameter in method.parameters())
    runtime.place(method).train()
    batches = {
        name: Batch(
            torch.randn(batch, 3, *crop, device=runtime.device),
            torch.randint(0, num_classes, (batch, *crop), device=runtime.device),
        )
        for name in stage.streams
    }
    seconds = min(_step(method, batches, runtime) for _ in range(2))
    return seconds * full / probe, memory


def _step(method: Method, batches: dict[str, Batch], runtime: Runtime) -> float:
    runtime.synchronize()
    start = time.perf_counter()
    with runtime.autocast():
        terms = method(batches, 10**9)  # past every warm-up
    torch.stack([term.float() for term in terms.values()]).sum().backward()
    method.zero_grad(set_to_none=True)
    runtime.synchronize()
    return time.perf_counter() - start


def _kept_bytes(method: Method, crop: Size) -> int:
    """Bytes of the outputs of all leaf modules for one image in float32, by shapes alone."""
    import copy

    memo: dict[int, Any] = {}
    for parameter in method.parameters():
        memo[id(parameter)] = nn.Parameter(torch.empty_like(parameter, device="meta"), parameter.requires_grad)
    for buffer in method.buffers():
        memo[id(buffer)] = torch.empty_like(buffer, device="meta")
    skeleton = copy.deepcopy(method.predictor(), memo).eval()
    total = 0

    def add(_: nn.Module, __: Any, output: Any) -> None:
        nonlocal total
        if isinstance(output, Tensor):
            total += output.numel() * 4

    for layer in skeleton.modules():
        if not list(layer.children()):
            layer.register_forward_hook(add)
    with torch.no_grad():
        skeleton(torch.empty(1, 3, *crop, device="meta"))
    return total
