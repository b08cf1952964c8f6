"""Everything that decides a number, as frozen, torch-free types, and the ids that follow from them.

A spec's id hashes its canonical JSON *without defaults*: a new option with a default never changes an old id.
Each field knows whether a difference in it is *material* for a comparison with a publication, and whether it counts
optimiser steps (so that a budget scales it in proportion).
"""

from typing import Any, Literal, Self

from pydantic import Field, model_serializer, model_validator

from .augmentation import AugmentationSpec as AugmentationSpec
from .augmentation import BlurSpec as BlurSpec
from .augmentation import ClassUniformSpec as ClassUniformSpec
from .augmentation import JitterSpec as JitterSpec
from .features import FeatureSpec as FeatureSpec
from .fields import Options as Options
from .fields import Size, Spec, digest, setting
from .micro_batch import cut_fault
from .padding import PadSpec as PadSpec

LABELLED = "labelled"  # the stream of a stage that has one, and the primary one of several


class Choice(Spec):
    """A registered entry by name with its options, written flat: ``{name: contextrast, alpha: 0.1}``."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, data: Any) -> Any:
        if isinstance(data, str):
            return {"name": data}
        if isinstance(data, dict) and "options" not in data:
            rest = {key: value for key, value in data.items() if key != "name"}
            return {**({"name": data["name"]} if "name" in data else {}), "options": rest}
        return data

    @model_serializer
    def _flat(self) -> dict[str, Any]:
        return {"name": self.name, **self.options}


class SubsetSpec(Spec):
    """Which labelled images of a split are used.

    - ``random``: ``count`` images drawn with the seed ``draw``.
    - ``permutation``: the first ``count`` of the published permutation ``draw`` of the sorted list (order: released).
    - ``shards``: the first ``take_shards`` of ``num_shards`` parts of the list, which is sorted or is shuffled with the
      seed ``draw``; each part but the last is as long as the others.
    - ``balanced``: drawn with the seed ``draw`` so that the class that the fewest images show comes first.
    """

    count: int = setting(gt=0)
    rule: Literal["permutation", "shards", "random", "balanced"] = "random"
    order: Literal["released", "sorted", "shuffled"] = "sorted"
    draw: int | None = setting(
        0, ge=0, description="which published permutation, or the seed of a random draw; None: the training's seed"
    )
    num_shards: int | None = setting(None, gt=0)
    take_shards: int | None = setting(None, gt=0)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        orders = {"permutation": ("released",), "shards": ("sorted", "shuffled")}.get(self.rule, ("sorted",))
        if self.order not in orders:
            raise ValueError(f"rule {self.rule} goes with order {' or '.join(orders)}, got {self.order}")
        given = [value for value in (self.num_shards, self.take_shards) if value is not None]
        if self.rule == "shards" and (len(given) < 2 or given[1] > given[0]):
            raise ValueError("rule shards wants num_shards, and take_shards of them")
        if self.rule != "shards" and given:
            raise ValueError(f"num_shards and take_shards mean nothing to rule {self.rule}")
        return self


class DataSpec(Spec):
    """Images and labels, before any augmentation."""

    name: str
    source: Literal["folder", "generated"] = "folder"
    classes: str | None = setting(None, description="variant of the class table, e.g. pascal-context-59")
    splits: tuple[str, ...] = ("train",)
    scale: float = setting(1.0, gt=0, le=4, description="whole images are resized by this factor first")
    size: Size | None = setting(None, description="whole images are resized to this size first")
    resize: Literal["area", "bilinear", "lanczos"] = setting(
        "area", description="how; area: mean if it shrinks, else plain bilinear; the others as Pillow does"
    )
    subset: SubsetSpec | None = None
    unlabelled_rest: bool = setting(False, description="the images that the subset leaves out, without labels")
    images: int | None = setting(None, gt=0, description="how many images to generate (generated source only)")


class InputSpec(Spec):
    """What the network is fed: channel order and normalisation of images in [0, 1]."""

    channels: Literal["rgb", "bgr"] = "rgb"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)


class ModelSpec(Spec):
    """A segmentation network: backbone and decoder, each by registered name with its options."""

    backbone: Choice
    decoder: Choice
    align_corners: bool = False
    input: InputSpec = InputSpec()


class WeightsSpec(Spec):
    """Where a training starts."""

    backbone: str = setting("random", description="random, imagenet or coco")
    file: str | None = setting(None, description="the published file, by its name in `segbench weights list`")


class OptimizerSpec(Spec):
    name: Literal["sgd", "adamw", "adam"]
    lr: float = setting(gt=0)
    momentum: float = setting(0.0, ge=0, lt=1)
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = setting(0.0, ge=0)
    no_decay: tuple[Literal["norm", "bias", "position", "depthwise"], ...] = setting(
        (), description="spared weight decay; depthwise: kernels of convolutions that mix no channels"
    )


class PolicySpec(Spec):
    """Learning rate over steps: ``base * warm-up * (1 - t/T)^power`` for poly."""

    name: Literal["poly", "constant", "cosine"] = "poly"
    power: float = setting(0.9, gt=0)
    warmup_steps: int = setting(0, ge=0, counts_steps=True)
    warmup_ratio: float = setting(1e-6, ge=0, le=1)


class ScheduleSpec(Spec):
    steps: int = setting(gt=0, counts_steps=True)
    optimizer: OptimizerSpec
    policy: PolicySpec = PolicySpec()
    validate_every: int | None = setting(None, gt=0, counts_steps=True, material=False)
    ema_decay: float | None = setting(None, ge=0, lt=1)
    micro_batch: int | None = setting(
        None, gt=0, description="images of a forward pass, over all devices; gradients add up over the batch"
    )


class StreamSpec(Spec):
    """One source of batches of a stage. ``batch_total`` counts images over all devices."""

    data: DataSpec
    crop: Size
    batch_total: int = setting(gt=0)
    augmentation: AugmentationSpec = AugmentationSpec()

    @model_validator(mode="after")
    def _blur_fits(self) -> Self:
        blur = self.augmentation.blur
        if blur is not None and min(self.crop) <= blur.kernel // 2:
            raise ValueError(f"a blur of {blur.kernel} pixels does not fit into a crop of {self.crop}")
        return self


class StageSpec(Spec):
    """One run of the training loop."""

    name: str = "train"
    starts_from: str | None = setting(None, description="name of an earlier stage whose weights are taken")
    streams: dict[str, StreamSpec]
    model: ModelSpec
    weights: WeightsSpec = WeightsSpec()
    method: Choice
    schedule: ScheduleSpec
    emits: Literal["weights", "pseudo_labels"] = "weights"
    primary: str | None = setting(
        None, description="stream that is validated on and counts; None: labelled, or the first where there is none"
    )

    @model_validator(mode="after")
    def _primary_exists(self) -> Self:
        if self.primary is not None and self.primary not in self.streams:
            raise ValueError(f"primary is {self.primary!r}; the streams are {', '.join(self.streams)}")
        return self

    @model_validator(mode="after")
    def _cut_evenly(self) -> Self:
        fault = cut_fault(self.schedule.micro_batch, [stream.batch_total for stream in self.streams.values()])
        if fault:
            raise ValueError(fault)
        return self

    @property
    def primary_name(self) -> str:
        """Name of the primary stream."""
        return self.primary or (LABELLED if LABELLED in self.streams else next(iter(self.streams)))

    @property
    def primary_stream(self) -> StreamSpec:
        """Stream whose data set validates the stage and whose crops and classes stand for it."""
        return self.streams[self.primary_name]

    @property
    def images_at_once(self) -> int:
        """Images of the largest stream in one forward pass: what the statistics of a normalisation are taken of."""
        largest = max(stream.batch_total for stream in self.streams.values())
        return min(largest, self.schedule.micro_batch or largest)

    @property
    def parts(self) -> int:
        """Into how many parts a batch is cut, with a forward pass each."""
        return max(stream.batch_total for stream in self.streams.values()) // self.images_at_once


class TrainingSpec(Spec):
    """Everything that decides the weights."""

    stages: tuple[StageSpec, ...] = Field(min_length=1)
    seed: int = 0

    @model_validator(mode="after")
    def _stages_in_order(self) -> Self:
        seen: set[str] = set()
        for stage in self.stages:
            if stage.starts_from is not None and stage.starts_from not in seen:
                raise ValueError(f"stage {stage.name!r} starts from {stage.starts_from!r}, which is no earlier stage")
            seen.add(stage.name)
        return self

    def family(self) -> str:
        """The id with the seed left out: runs that differ by seed alone share it."""
        data = self.canonical()
        data.pop("seed", None)
        return digest(data)

    def prefix_id(self, stages: int) -> str:
        """Id of the first ``stages`` stages: what another training with the same beginning shares."""
        return TrainingSpec(stages=self.stages[:stages], seed=self.seed).id()


class EvaluationSpec(Spec):
    """How a trained network is scored.

    The answer always has the size of the label, whatever size the network is shown: ``short_side``, ``max_side``,
    ``multiple_of`` and ``pad`` change the image alone, in this order, for each of ``scales``.
    """

    data: DataSpec
    mode: Literal["whole", "slide"] = "whole"
    window: Size | None = None
    stride: Size | None = None
    placing: Literal["border", "even"] = setting(
        "border", description="a stride apart and the last one at the border, or as many of them spread evenly"
    )
    overlap: Literal["logits", "probabilities", "sum"] = setting(
        "logits",
        description="what windows are averaged as; sum: scores are added, and count for more where more windows are",
    )
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    mirror: Literal["image", "window"] = setting(
        "image", description="whether the mirrored image gets windows of its own, or every window is mirrored"
    )
    mirrored: Literal["probabilities", "logits"] = setting(
        "probabilities",
        description="how a window and its mirror are joined where windows are averaged as probabilities: as the mean "
        "of both's, or as the soft-max of the sum of both's logits",
    )
    short_side: int | None = setting(None, gt=0, description="the image's short side at scale 1, its ratio kept")
    max_side: int | None = setting(None, gt=0, description="the most that short_side may make of the long side")
    multiple_of: int | None = setting(None, gt=0, description="both sides are resized up to a multiple of this")
    pad: PadSpec | None = None
    enlarge: Literal["once", "twice"] = setting(
        "once", description="logits become the label's size at once, or the size that was shown first, as mmseg does"
    )
    fuse: Literal["logits", "probabilities", "exp_logits"] = setting(
        "probabilities",
        description="what scales are added up as; exp_logits: a scale's logits are averaged with those of its mirror "
        "image, and their exponentials resized to the label's size",
    )
    absent: Literal["exclude", "zero", "one"] = setting(
        "exclude", description="IoU of a class that is neither in the labels nor predicted"
    )
    checkpoint: Literal["last", "best"] = "last"
    features: FeatureSpec | None = None

    @model_validator(mode="after")
    def _features_of_whole_images(self) -> Self:
        resized = (self.short_side, self.multiple_of, self.pad) != (None, None, None)
        if self.features is not None and (self.mode == "slide" or resized):
            raise ValueError("features are of whole images at their own size: no windows, short_side, multiple_of, pad")
        return self

    @model_validator(mode="after")
    def _windows(self) -> Self:
        if self.mode == "slide" and self.window is None:
            raise ValueError("mode slide needs a window")
        if self.window is not None and self.stride is not None:
            gaps = [step > side for step, side in zip(self.stride, self.window, strict=True)]
            if any(gaps):
                raise ValueError(f"stride {self.stride} is larger than window {self.window}: it would leave gaps")
        if self.overlap == "probabilities" and self.fuse != "probabilities":
            raise ValueError(f"windows averaged as probabilities cannot be fused as {self.fuse}")
        if self.overlap == "sum" and self.fuse != "logits":
            raise ValueError(f"windows whose scores are added cannot be fused as {self.fuse}")
        if self.mirrored == "logits" and (self.mirror, self.overlap) != ("window", "probabilities"):
            raise ValueError("mirrored logits goes with mirror window and overlap probabilities")
        if self.max_side is not None and (self.short_side is None or self.max_side < self.short_side):
            raise ValueError("max_side goes with a short_side that is no larger")
        return self


class CostSpec(Spec):
    """Parameters and multiply-adds of a network at one input size."""

    input: Size
    num_classes: int = setting(gt=0)
    rule: Literal["thop"] = "thop"


def evaluation_id(training: str, evaluation: EvaluationSpec) -> str:
    """Id of an evaluation: a training's (or a foreign checkpoint's) id and the protocol."""
    return digest({"training": training, "evaluation": evaluation.canonical()})
