"""SegFormer by its tensors, under segbench's names. Several projects have it, each with names of its own."""

import re
from typing import Any, Literal, get_args

from segbench.core.errors import InvalidFault
from segbench.core.spec import Choice, ModelSpec
from segbench.models.backbones.mit.options import Options

from ..family import ForeignCheckpoint, StateDict
from .resnet import count_modules
from .stages import STAGES, encoder_options, with_explicit_stages

# Layers that are linear in one project and 1x1 convolutions in another, by segbench's names.
PROJECTIONS = re.compile(r"decoder\.projections\.\d+\.weight")
FEED_FORWARD = re.compile(r"backbone\.block\d+\.\d+\.mlp\.fc[12]\.weight")

_CITYSCAPES, _ADE20K = 19, 150
# All of them resize as MMSegmentation does, on which the authors' code is built (encode_decode and whole_inference of
# its EncoderDecoder): logits are resized to the network's input and then to the image.
_WHOLE: dict[str, object] = {"mode": "whole", "enlarge": "twice"}
_SLIDING: dict[str, object] = {"mode": "slide", "window": (1024, 1024), "stride": (768, 768), "enlarge": "twice"}
_CROPS = (
    "By its 19 classes it is taken for one of Cityscapes, trained on crops of 1024x1024: windows are of that size, "
    "every 768x768. Tensors do not show the crops."
)
_OTHER_CROPS = "Of its authors' files, those trained on 512x1024 and 640x1280 are scored on whole images."
_SIDES = "By its 150 classes it is taken for one of ADE20K, shown at a short side of {side}{multiple}."
_WIDER = "The file of B5 that was trained on crops of 640x640 is scored at a short side of 640."
# Beginnings of the notes on an assumed evaluation.
ASSUMED = (_CROPS, _OTHER_CROPS, _SIDES.partition("{")[0], _WIDER)
_UNUSUAL = (
    "It is no published size: as in those, its attention heads are taken to be as wide as the first stage ({heads} in "
    "the four stages), and its patches to have strides 4, 2, 2 and 2. Tensors show neither."
)


def segformer_model(tensors: StateDict, *, variant: Literal["nv", "hf", "mmseg"]) -> ModelSpec:
    """Return the network with its sizes.

    Args:
        tensors: under segbench's names.
        variant: project of the encoder; the head is that of ``mmseg`` or of the authors.

    Raises:
        KeyError: a tensor that identifies it is missing.
        InvalidFault: its channels do not divide among heads as the published ones' do.
    """
    decoder: dict[str, Any] = {"variant": "mmseg"} if variant == "mmseg" else {}
    channels = tensors["decoder.fuse.conv.weight"].shape[0]
    decoder |= {} if channels == 256 else {"channels": channels}
    return ModelSpec(
        backbone=Choice(name="mit", options=_encoder(tensors, variant)),
        decoder=Choice(name="segformer", options=decoder),
    )


def segformer_checkpoint(
    tensors: StateDict,
    num_classes: int,
    *,
    family: str,
    title: str,
    variant: Literal["nv", "hf", "mmseg"],
    dropped: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
) -> ForeignCheckpoint:
    """Return the checkpoint of a SegFormer.

    Args:
        tensors: under segbench's names.
        num_classes: outputs of its classifier.
        family: name of its family.
        title: name of the project.
        variant: project of encoder and head; all but ``mmseg`` have the authors' evaluation.
        dropped: the file's names of tensors left out on purpose.
        notes: notes on all files of the project.

    Raises:
        KeyError, InvalidFault: as ``segformer_model``.
    """
    model = segformer_model(tensors, variant=variant)
    protocol, said = segformer_scoring(model, num_classes, authors=variant != "mmseg")
    return ForeignCheckpoint(
        family=family,
        title=f"{title} {segformer_label(model)}",
        model=model,
        num_classes=num_classes,
        tensors=dict(tensors),
        dropped=dropped,
        notes=(*assumptions(model), *said, *notes),
        protocol=protocol,
    )


def segformer_label(model: ModelSpec) -> str:
    """Return e.g. ``SegFormer, MiT-B0``; a network of no published size is named by its channels."""
    if "widths" not in model.backbone.options:
        return f"SegFormer, {_options(model).label()}"
    return f"SegFormer, MiT of {'-'.join(map(str, _options(model).shape().widths))} channels"


def segformer_depths(model: ModelSpec) -> tuple[int, ...]:
    """Return the number of blocks of each stage."""
    return _options(model).shape().depths


def assumptions(model: ModelSpec) -> tuple[str, ...]:
    """Return notes on what reading it assumed; none for a published size."""
    if "widths" not in model.backbone.options:
        return ()
    *others, last = _options(model).shape().heads
    return (_UNUSUAL.format(heads=f"{', '.join(map(str, others))} and {last}"),)


def segformer_scoring(
    model: ModelSpec, num_classes: int, *, authors: bool
) -> tuple[dict[str, object], tuple[str, ...]]:
    """Return a project's evaluation as fields of a spec, and notes on it.

    Args:
        model: the network.
        num_classes: outputs of its classifier.
        authors: for files of the authors and not of MMSegmentation; on ADE20K they round both sides up to a multiple
            of 32, and trained B5 on larger images.
    """
    largest = model.backbone.options.get("size") == "b5"
    if num_classes == _CITYSCAPES:
        return dict(_SLIDING), (_CROPS, _OTHER_CROPS) if authors else (_CROPS,)
    if num_classes != _ADE20K:
        return dict(_WHOLE), ()
    side = 640 if largest and authors else 512
    note = _SIDES.format(side=side, multiple=", both sides a multiple of 32" if authors else "")
    sizing: dict[str, object] = {
        **_WHOLE,
        "short_side": side,
        "max_side": 2048,
        **({"multiple_of": 32} if authors else {}),
    }
    return sizing, (note, _WIDER) if largest and not authors else (note,)


def segformer_explicit(model: ModelSpec) -> ModelSpec:
    """Return the network with its stages in numbers."""
    return with_explicit_stages(model, _options(model))


def _options(model: ModelSpec) -> Options:
    return encoder_options(Options, model)


def _encoder(tensors: StateDict, variant: str) -> dict[str, Any]:
    """Return the options of the backbone ``mit`` that differ from its defaults."""
    numbers = range(1, STAGES + 1)
    patches = [tensors[f"backbone.patch_embed{number}.proj.weight"].shape for number in numbers]
    widths = tuple(shape[0] for shape in patches)
    reductions = [tensors.get(f"backbone.block{number}.0.attn.sr.weight") for number in numbers]
    found: dict[str, Any] = {
        **_size(widths, tuple(count_modules(tensors, f"backbone.block{number}.") for number in numbers)),
        "variant": variant,
        "patch_sizes": tuple(shape[-1] for shape in patches),
        "reductions": tuple(1 if weight is None else weight.shape[-1] for weight in reductions),
        "mlp_ratio": tensors["backbone.block1.0.mlp.fc1.weight"].shape[0] // max(widths[0], 1),
    }
    usual = Options().model_dump()
    return {name: value for name, value in found.items() if usual[name] != value}


def _size(widths: tuple[int, ...], depths: tuple[int, ...]) -> dict[str, Any]:
    for size in get_args(Options.model_fields["size"].annotation):
        shape = Options(size=size).shape()
        if (shape.widths, shape.depths) == (widths, depths):
            return {"size": size}
    # Shapes do not show how channels are divided among heads (Xie et al. 2021, table 6: 32 or 64 each).
    if any(width % widths[0] for width in widths):
        raise InvalidFault(
            f"Its encoder has {'-'.join(map(str, widths))} channels, which are no multiples of those of the first "
            "stage as in every published SegFormer; how many attention heads it has cannot be told.",
            next="segbench eval --checkpoint FILE --model MODULE:FUNCTION, with the code of your own network",
        )
    return {"widths": widths, "depths": depths, "heads": tuple(width // widths[0] for width in widths)}
