"""How much memory a row needs on a GPU: estimated from shapes, so that it is known before there is a GPU.

What a training step keeps for its gradients is counted on the meta device (``metrics.footprint``), with the method's
own forward pass at the full crop and batch. Beside a simulation that follows every tensor through forward and backward
pass (HRNet, ResNet, Swin, Mix Transformer, Xception; with and without checkpointing) the peak was 1 to 6 % too high in
bfloat16, up to 44 % in float32, never too low. What no shape tells is the reserve: CUDA's own memory, workspaces of its
libraries, what its allocator cannot use; it is a convention, not yet measured on a GPU. A compiled network usually
needs less.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import ceil, prod
from typing import Any

import torch
from torch import Tensor

from segbench.core.errors import InvalidFault
from segbench.core.spec import EvaluationSpec, OptimizerSpec, Size, StageSpec, TrainingSpec
from segbench.data.batch import Batch
from segbench.data.classes import class_table
from segbench.data.facts import facts
from segbench.engine.recompute import pieces
from segbench.engine.runtime import Precision
from segbench.methods.base import Method
from segbench.methods.build import build_method
from segbench.methods.step import StepInfo
from segbench.metrics.footprint import SavedBytes, count_peak, count_saved, emulate_autocast
from segbench.models.segmentor import build_segmentor

from .count_cache import remembered

CONTEXT_BYTES = 600_000_000  # of a process with CUDA, cuDNN and cuBLAS, before its first tensor
RESERVE_PERCENT = 10  # of everything else: workspaces, and gaps that the allocator cannot use
_STEP = 10**9  # past every warm-up
_PROBE: Size = (512, 1024)  # an image whose pixels tell what one pixel costs at evaluation
_PROBE_CLASSES = 19  # so that a network is counted once; scores at the size of the label are counted apart
_UNKNOWN_SIDES = 2  # images of unknown size have twice the crop's sides
_FLOAT32 = 4
_SINGLE = "more than 1 value per channel"  # as PyTorch puts it


@dataclass(frozen=True)
class Memory:
    """Bytes on one GPU, at the moment when most are needed.

    Attributes:
        weights: parameters and buffers.
        gradients: of what is trained.
        optimizer: momenta.
        activations: what a forward pass keeps for its gradients; at evaluation, the most that lives at once.
        working: what comes and goes: temporaries of the forward pass, or two gradients of the largest tensor.
        reserve: what no shape tells.
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
class Counted:
    """Of one forward pass of a stage, in bytes unless said otherwise; see ``footprint.SavedBytes``.

    Attributes:
        copies: of weights in the low precision; they do not grow with the batch.
    """

    weights: int
    trained: int
    copies: int
    everything: int
    checkpointed: int
    largest: int
    passing: int

    def kept(self, share: float, *, checkpoint: bool) -> int:
        """What is kept of a forward pass with a share of the images."""
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
) -> Memory:
    """Memory of a training step of the stage that needs most, on each of some GPUs.

    Args:
        training: the protocol.
        precision: ``bfloat16`` means autocast.
        micro_batch: images of a forward pass over all devices, instead of what the protocol says.
        checkpoint: whether the backbone's activations are computed again.
        devices: GPUs that each batch is spread over.
    """
    found = [
        _stage_memory(stage, precision=precision, micro_batch=micro_batch, checkpoint=checkpoint, devices=devices)
        for stage in training.stages
    ]
    return max(found, key=lambda memory: memory.total)


def _stage_memory(
    stage: StageSpec, *, precision: Precision, micro_batch: int | None, checkpoint: bool, devices: int
) -> Memory:
    counted = count_stage(stage, precision=precision)
    largest = max(stream.batch_total for stream in stage.streams.values())
    at_once = min(largest, micro_batch or stage.images_at_once)
    share = ceil(at_once / devices) / stage.images_at_once
    return Memory(
        weights=counted.weights,
        gradients=counted.trained,
        optimizer=counted.trained * _momenta(stage.schedule.optimizer),
        activations=counted.kept(share, checkpoint=checkpoint),
        working=ceil(max(counted.passing, 2 * counted.largest) * share),
    )


def _momenta(optimizer: OptimizerSpec) -> int:
    """How many numbers an optimiser keeps of each weight."""
    if optimizer.name == "sgd":
        return 1 if optimizer.momentum else 0
    return 2


def evaluation_memory(stage: StageSpec, evaluation: EvaluationSpec, *, precision: Precision = "bfloat16") -> Memory:
    """Memory of scoring one image at the largest scale.

    What lives at once grows with the pixels that the network is shown; scores of all classes at the size of the label
    are float32, two of them for a plain protocol and four where views are fused.
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
    return Memory(
        weights=weights,
        activations=copies + ceil((peak - copies) * shown / prod(_PROBE)),
        working=answer,
    )


def _image_size(stage: StageSpec, evaluation: EvaluationSpec) -> Size:
    """(H, W) of an image at scale 1, as the network is shown it."""
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


def count_stage(stage: StageSpec, *, precision: Precision) -> Counted:
    """Count one forward pass of a stage's method with its losses; remembered on disk for equal shapes.

    Raises:
        InvalidFault: a normalisation has a single value to take statistics of.
    """
    key = {
        "model": stage.model.canonical(),
        "method": _without_floats(stage.method.canonical()),
        "streams": {name: [stream.crop, _at_once(stage, name)] for name, stream in stage.streams.items()},
        "classes": _num_classes(stage),
        "precision": precision,
    }
    return Counted(**remembered(key, lambda: asdict(_count_stage(stage, precision))))


def _at_once(stage: StageSpec, name: str) -> int:
    return stage.streams[name].batch_total // stage.micro_batches


def _count_stage(stage: StageSpec, precision: Precision) -> Counted:
    with torch.device("meta"):
        method = build_method(stage, num_classes=_num_classes(stage)).train()
        batches = {
            name: Batch(
                torch.empty(_at_once(stage, name), 3, *stream.crop),
                torch.empty(_at_once(stage, name), *stream.crop, dtype=torch.int64),
            )
            for name, stream in stage.streams.items()
        }
    # Shapes have no generator of random numbers; in which order equals are drawn changes none of them.
    method.generator = _no_generator  # type: ignore[method-assign, assignment]
    emulate_autocast(method.children(), _dtype(precision))
    owned = [*method.parameters(), *method.buffers()]
    kept = _kept(method, batches, owned)
    weights = _bytes(owned)
    return Counted(
        weights=weights,
        trained=_bytes([parameter for parameter in method.parameters() if parameter.requires_grad]),
        copies=_copies(weights, precision),
        everything=kept.everything,
        checkpointed=kept.checkpointed,
        largest=kept.largest,
        passing=kept.transient,
    )


def _kept(method: Method, batches: dict[str, Batch], owned: list[Tensor]) -> SavedBytes:
    """Of the method with its losses, or of its networks alone where the losses look at values, which shapes lack."""
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
    """Bytes of the weights, and most bytes that live at once for an image of ``_PROBE``."""

    def count() -> dict[str, int]:
        with torch.device("meta"):
            segmentor = build_segmentor(stage.model, num_classes=_PROBE_CLASSES).eval()
            image = torch.empty(1, 3, *_PROBE)
        emulate_autocast([segmentor], _dtype(precision))
        weights = _bytes([*segmentor.parameters(), *segmentor.buffers()])
        return {"weights": weights, "peak": count_peak(lambda: segmentor(image))}

    key = {"evaluation": stage.model.canonical(), "precision": precision}
    found = remembered(key, count)
    return found["weights"], found["peak"]


def _dtype(precision: Precision) -> torch.dtype:
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


def _copies(weights: int, precision: Precision) -> int:
    """Of float32 weights in bfloat16; at most, as a few are never cast."""
    return weights // 2 if precision == "bfloat16" else 0


def _bytes(tensors: Sequence[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _no_generator(info: StepInfo, *, group: int = 0, stream: str = "") -> None:
    return None


def _without_floats(options: Any) -> Any:
    """Options of a method as far as they can be shapes: rows that differ in a weight alone are counted once."""
    if isinstance(options, dict):
        return {key: _without_floats(value) for key, value in options.items()}
    if isinstance(options, list | tuple):
        return [_without_floats(value) for value in options]
    return "float" if isinstance(options, float) else options
