"""GPU memory of trainings and evaluations, estimated from shapes, without a GPU.

The activations that a training step keeps for its gradients are counted on the meta device (``metrics.footprint``) with
the method's own forward pass at the full crop and batch. Compared with a simulation that follows every tensor through
forward and backward pass (HRNet, ResNet, Swin, Mix Transformer, Xception; with and without checkpointing) the peak was
1 to 6 % too high in bfloat16, up to 44 % in float32, never too low. Shapes do not show the reserve: CUDA's own memory,
workspaces of its libraries, fragmentation of its allocator; it is a convention, not yet measured on a GPU. A compiled
network usually needs less.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil, prod
from typing import Any

import torch
from torch import Tensor

from segbench.core.errors import InvalidFault
from segbench.core.spec import EvaluationSpec, ModelSpec, OptimizerSpec, Size, StageSpec, TrainingSpec
from segbench.data.batch import Batch
from segbench.data.classes import class_table
from segbench.data.facts import facts
from segbench.engine.recompute import pieces
from segbench.engine.runtime import Precision
from segbench.methods.base import Method
from segbench.methods.build import build_method, teachers_of
from segbench.methods.step import StepInfo
from segbench.metrics.footprint import SavedBytes, count_peak, count_saved, emulate_autocast
from segbench.models.segmentor import build_segmentor

from .count_cache import cached_counts

CONTEXT_BYTES = 600_000_000  # of a process with CUDA, cuDNN and cuBLAS, before its first tensor
RESERVE_PERCENT = 10  # of everything else: workspaces and fragmentation
_STEP = 10**9  # past every warm-up
_PROBE: Size = (512, 1024)  # size of the image from which the cost of a pixel at evaluation is taken
_PROBE_CLASSES = 19  # whatever the data set, so that a network is counted once; scores at the label's size are added
_UNKNOWN_SIDES = 2  # times the crop's sides, for images of unknown size
_FLOAT32 = 4
_SINGLE = "more than 1 value per channel"  # PyTorch's message


@dataclass(frozen=True)
class MemoryEstimate:
    """Peak memory on one GPU, in bytes.

    Attributes:
        weights: parameters and buffers.
        gradients: of trained parameters.
        optimizer: its momenta.
        activations: kept by a forward pass for its gradients; at evaluation, the peak.
        working: temporaries of the forward pass, or two gradients of the largest tensor.
        reserve: CUDA's own memory, workspaces and fragmentation.
    """

    weights: int
    gradients: int = 0
    optimizer: int = 0
    activations: int = 0
    working: int = 0

    @property
    def reserve(self) -> int:
        return CONTEXT_BYTES + sum(asdict(self).values()) * RESERVE_PERCENT // 100

    @property
    def total(self) -> int:
        return sum(asdict(self).values()) + self.reserve


@dataclass(frozen=True)
class ForwardCount:
    """Memory of one forward pass of a stage, in bytes; see ``footprint.SavedBytes``.

    Attributes:
        copies: of the weights in low precision; they do not grow with the batch.
    """

    weights: int
    trained: int
    copies: int
    everything: int
    checkpointed: int
    largest: int
    passing: int

    def kept(self, share: float, *, checkpoint: bool) -> int:
        """Return the bytes kept by a forward pass with a share of the images."""
        whole = self.checkpointed if checkpoint else self.everything
        fixed = min(self.copies, whole)
        return fixed + ceil((whole - fixed) * share)


def training_memory(
    training: TrainingSpec,
    *,
    precision: Precision = "bfloat16",
    micro_batch: int | None = None,
    checkpoint: bool = False,
    devices: int = 1,
) -> MemoryEstimate:
    """Estimate the memory of a training step on each GPU, for the stage that needs most.

    Args:
        training: the protocol.
        precision: ``bfloat16`` means autocast.
        micro_batch: images of a forward pass over all devices; None for the protocol's.
        checkpoint: recompute the backbone's activations instead of keeping them.
        devices: GPUs that share each batch.
    """
    found = [
        _stage_memory(
            stage,
            teachers_of(stage, training),
            precision=precision,
            micro_batch=micro_batch,
            checkpoint=checkpoint,
            devices=devices,
        )
        for stage in training.stages
    ]
    return max(found, key=lambda memory: memory.total)


def _stage_memory(
    stage: StageSpec,
    teachers: Mapping[str, ModelSpec],
    *,
    precision: Precision,
    micro_batch: int | None,
    checkpoint: bool,
    devices: int,
) -> MemoryEstimate:
    counted = count_stage(stage, precision=precision, teachers=teachers)
    largest = max(stream.batch_total for stream in stage.streams.values())
    at_once = min(largest, micro_batch or stage.images_at_once)
    share = ceil(at_once / devices) / stage.images_at_once
    return MemoryEstimate(
        weights=counted.weights,
        gradients=counted.trained,
        optimizer=counted.trained * _momenta(stage.schedule.optimizer),
        activations=counted.kept(share, checkpoint=checkpoint),
        working=ceil(max(counted.passing, 2 * counted.largest) * share),
    )


def _momenta(optimizer: OptimizerSpec) -> int:
    """Return how many numbers an optimizer keeps of each parameter."""
    if optimizer.name == "sgd":
        return 1 if optimizer.momentum else 0
    return 2


def evaluation_memory(
    stage: StageSpec, evaluation: EvaluationSpec, *, precision: Precision = "bfloat16"
) -> MemoryEstimate:
    """Estimate the memory of scoring one image at the largest scale.

    The peak of the network grows with the pixels of its input; scores of all classes at the size of the label are
    float32, two copies of them for a plain protocol and four where views are fused.
    """
    num_classes = _num_classes(stage)
    weights, peak = _count_evaluation(stage, precision=precision)
    size = _image_size(stage, evaluation)
    scale = max(evaluation.scales)
    view = (size[0] * scale, size[1] * scale)
    shown = float(prod(view))
    scores = 2 if len(evaluation.scales) == 1 and not evaluation.flip else 4
    answer = scores * num_classes * prod(size) * _FLOAT32
    if evaluation.mode == "slide" and evaluation.window is not None:
        window = prod(min(side, most) for side, most in zip(view, evaluation.window, strict=True))
        answer += ceil((num_classes + 1) * shown) * _FLOAT32
        shown = float(window)
    copies = _copies(weights, precision)
    return MemoryEstimate(
        weights=weights,
        activations=copies + ceil((peak - copies) * shown / prod(_PROBE)),
        working=answer,
    )


def _image_size(stage: StageSpec, evaluation: EvaluationSpec) -> Size:
    """Return (H, W) of the network's input at scale 1."""
    data = evaluation.data
    crop = stage.primary_stream.crop
    native = facts(data.name).native_size
    if data.size is not None:
        size = data.size
    elif data.source == "generated":
        size = crop
    elif native is not None:
        size = (ceil(native[0] * data.scale), ceil(native[1] * data.scale))
    else:
        size = (_UNKNOWN_SIDES * crop[0], _UNKNOWN_SIDES * crop[1])
    if evaluation.short_side is not None:
        factor = evaluation.short_side / min(size)
        if evaluation.max_side is not None:
            factor = min(factor, evaluation.max_side / max(size))
        size = (ceil(size[0] * factor), ceil(size[1] * factor))
    return size


def _num_classes(stage: StageSpec) -> int:
    data = stage.primary_stream.data
    return class_table(data.classes or data.name).num_classes


def count_stage(
    stage: StageSpec, *, precision: Precision, teachers: Mapping[str, ModelSpec] | None = None
) -> ForwardCount:
    """Count one forward pass of a stage's method with its losses, and with teachers; cached on disk for equal shapes.

    Raises:
        InvalidFault: a norm would take statistics of a single value.
    """
    key = {
        "model": stage.model.canonical(),
        "method": _without_floats(stage.method.canonical()),
        "streams": {name: [stream.crop, _at_once(stage, name)] for name, stream in stage.streams.items()},
        "classes": _num_classes(stage),
        "precision": precision,
    }
    if teachers:
        key["teachers"] = {name: model.canonical() for name, model in teachers.items()}
    return ForwardCount(**cached_counts(key, lambda: asdict(_count_stage(stage, precision, teachers))))


def _at_once(stage: StageSpec, name: str) -> int:
    return stage.streams[name].batch_total // stage.micro_batches


def _count_stage(
    stage: StageSpec, precision: Precision, teachers: Mapping[str, ModelSpec] | None = None
) -> ForwardCount:
    with torch.device("meta"):
        method = build_method(stage, num_classes=_num_classes(stage), teachers=teachers).train()
        batches = {
            name: Batch(
                torch.empty(_at_once(stage, name), 3, *stream.crop),
                torch.empty(_at_once(stage, name), *stream.crop, dtype=torch.int64),
            )
            for name, stream in stage.streams.items()
        }
    # The meta device has no random generator; the order of draws changes no shape.
    method.generator = _no_generator  # type: ignore[method-assign, assignment]
    emulate_autocast(method.children(), _dtype(precision))
    owned = [*method.parameters(), *method.buffers()]
    kept = _kept(method, batches, owned)
    weights = _bytes(owned)
    return ForwardCount(
        weights=weights,
        trained=_bytes([parameter for parameter in method.parameters() if parameter.requires_grad]),
        copies=_copies(weights, precision),
        everything=kept.everything,
        checkpointed=kept.checkpointed,
        largest=kept.largest,
        passing=kept.transient,
    )


def _kept(method: Method, batches: dict[str, Batch], owned: list[Tensor]) -> SavedBytes:
    """Count the method with its losses, or only its networks if the losses depend on values, which shapes lack."""
    units = pieces(method.segmentor.backbone)
    try:
        return count_saved(lambda: method(batches, StepInfo(_STEP, _STEP)), owned=owned, pieces=units)
    except (RuntimeError, NotImplementedError):
        images = [batch.images for batch in batches.values()]
        return count_saved(lambda: [method.training_pass(each) for each in images], owned=owned, pieces=units)
    except ValueError as error:
        if _SINGLE not in str(error):
            raise
        raise InvalidFault(
            "A normalisation of this network, behind a global pooling, cannot take the statistics of one image.",
            next="the same command with a --micro-batch of 2 or more",
        ) from error


def _count_evaluation(stage: StageSpec, *, precision: Precision) -> tuple[int, int]:
    """Return the bytes of the weights, and the peak for an image of ``_PROBE``."""

    def count() -> dict[str, int]:
        with torch.device("meta"):
            segmentor = build_segmentor(stage.model, num_classes=_PROBE_CLASSES).eval()
            image = torch.empty(1, 3, *_PROBE)
        emulate_autocast([segmentor], _dtype(precision))
        weights = _bytes([*segmentor.parameters(), *segmentor.buffers()])
        return {"weights": weights, "peak": count_peak(lambda: segmentor(image))}

    key = {"evaluation": stage.model.canonical(), "precision": precision}
    found = cached_counts(key, count)
    return found["weights"], found["peak"]


def _dtype(precision: Precision) -> torch.dtype:
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


def _copies(weights: int, precision: Precision) -> int:
    """Return the bytes of bfloat16 copies of float32 weights; an upper bound, as a few are never cast."""
    return weights // 2 if precision == "bfloat16" else 0


def _bytes(tensors: Sequence[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _no_generator(info: StepInfo, *, group: int = 0, stream: str = "") -> None:
    return None


def _without_floats(options: Any) -> Any:
    """Mask the floats in options, which cannot be shapes: rows that differ only in a loss weight are counted once."""
    if isinstance(options, dict):
        return {key: _without_floats(value) for key, value in options.items()}
    if isinstance(options, list | tuple):
        return [_without_floats(value) for value in options]
    return "float" if isinstance(options, float) else options
