"""Hugging Face's transformers (version 5.23, and the names of the files published before): SegFormer, UPerNet on Swin.

Both take RGB images with ImageNet's mean and std. The image processors published beside the files resize each image to
a square; the published figures are those of images that keep their aspect ratio, as here. They were measured by the
code of the files' authors, which resizes logits twice; transformers' own post-processing does so once, and no figure is
published of it.
"""

import json
from collections.abc import Sequence

from torch import Tensor

from segbench.checkpoints.family import Family, ForeignCheckpoint, StateDict
from segbench.checkpoints.layouts.equality import check_same_network
from segbench.checkpoints.layouts.segformer import segformer_checkpoint, segformer_explicit
from segbench.checkpoints.layouts.swin_upernet import upernet_checkpoint, upernet_explicit, without_indices
from segbench.core.errors import InvalidFault
from segbench.core.spec import ModelSpec

from . import segformer, upernet

TITLE = "Hugging Face"
WEIGHTS_NAME = "model.safetensors"  # the only name that transformers looks for in a folder

_SQUARE = (
    "The image processor published with such files squashes images to a square, which does not give the published "
    "figures; here they keep their ratio."
)


def detect(state: StateDict) -> bool:
    """Return True for a SegFormer or an UPerNet of transformers."""
    return segformer.detect(state) or upernet.detect(state)


def read(state: StateDict) -> ForeignCheckpoint:
    """Read SegFormer or UPerNet of any size.

    Raises:
        KeyError: a tensor that identifies the network is missing.
        InvalidFault: segbench has no such network.
    """
    return _segformer(state) if segformer.detect(state) else _upernet(state)


def write(state: StateDict, model: ModelSpec) -> dict[str, Tensor]:
    """Return the tensors under the names of the published files, the inverse of `read`; `sidecars` are needed too.

    Args:
        state: tensors of a `Segmentor`.
        model: the network of these tensors.

    Raises:
        InvalidFault: transformers does not have this network.
    """
    parts = (model.backbone.name, model.decoder.name)
    if parts == ("mit", "segformer"):
        written = segformer.from_segbench(state, model, title=TITLE)
        theirs, ours = segformer_explicit(read(written).model), segformer_explicit(model)
    elif parts == ("swin", "upernet"):
        written = upernet.from_segbench(state, model, title=TITLE)
        theirs, ours = upernet_explicit(read(written).model), upernet_explicit(model)
    else:
        raise InvalidFault(
            f"{TITLE} has no {model.decoder.name} on {model.backbone.name} that segbench can write.",
            next="segbench weights convert --help",
        )
    check_same_network(theirs, ours, title=TITLE)
    return written


def sidecars(model: ModelSpec, classes: Sequence[str]) -> dict[str, str]:
    """Return the text files with which ``from_pretrained`` loads the folder: file name to content.

    Args:
        model: a network that `write` writes.
        classes: their names in the order of the outputs.

    Raises:
        InvalidFault: transformers' configuration cannot say it.
    """
    known = segformer if model.backbone.name == "mit" else upernet
    names = {str(number): name for number, name in enumerate(classes)}
    config = {
        **known.configuration(model),
        "id2label": names,
        "label2id": {name: number for number, name in enumerate(classes)},
    }
    return {"config.json": json.dumps(config, indent=2, ensure_ascii=False) + "\n"}


def _segformer(state: StateDict) -> ForeignCheckpoint:
    tensors = segformer.to_segbench(state)
    classes = state["decode_head.classifier.weight"].shape[0]
    return segformer_checkpoint(tensors, classes, family="huggingface", title=TITLE, variant="hf", notes=(_SQUARE,))


def _upernet(state: StateDict) -> ForeignCheckpoint:
    known, indices = without_indices(state)
    unused = tuple(name for name in known if name.startswith(upernet.UNUSED))
    tensors = upernet.to_segbench({name: tensor for name, tensor in known.items() if name not in set(unused)})
    classes = state["decode_head.classifier.weight"].shape[0]
    return upernet_checkpoint(
        tensors, classes, family="huggingface", title=TITLE, dropped=(*indices, *unused), notes=(_SQUARE,)
    )


FAMILY = Family(
    name="huggingface",
    title=TITLE,
    detect=detect,
    read=read,
    write=write,
    weights_name=WEIGHTS_NAME,
    sidecars=sidecars,
)
