"""Hugging Face's transformers (version 5.23, and the names of the files published before): SegFormer, UPerNet on Swin.

Both are fed RGB images by ImageNet's mean and std. The image processors published beside the files squash each image to
a square; the published figures are those of images that keep their ratio, and so are those here. They were measured by
the code of the files' authors, which enlarges logits twice; transformers' own post-processing does so once, and no
figure is published of it.
"""

import json
from collections.abc import Sequence

from torch import Tensor

from segbench.checkpoints.foreign.equality import check_same_network
from segbench.checkpoints.foreign.family import Foreign, State
from segbench.checkpoints.foreign.mix_transformer import segformer_of, segformer_spelled_out
from segbench.checkpoints.foreign.shifted_windows import upernet_of, upernet_spelled_out, without_indices
from segbench.core.errors import InvalidFault
from segbench.core.spec import ModelSpec

from . import segformer, upernet

TITLE = "Hugging Face"
FILE_NAME = "model.safetensors"  # the only name that transformers looks for in a folder

_SQUARE = (
    "The image processor published with such files squashes images to a square, which does not give the published "
    "figures; here they keep their ratio."
)


def detect(state: State) -> bool:
    """Whether this is a SegFormer or an UPerNet of transformers."""
    return segformer.detect(state) or upernet.detect(state)


def read(state: State) -> Foreign:
    """The network with its sizes.

    Raises:
        KeyError: a tensor that decides what the network is is missing.
        InvalidFault: segbench has no such network.
    """
    return _segformer(state) if segformer.detect(state) else _upernet(state)


def write(state: State, model: ModelSpec) -> dict[str, Tensor]:
    """The way back, to the names of the published files; `beside` is what they need to be loaded.

    Args:
        state: tensors of a `Segmentor`.
        model: the network that they belong to.

    Raises:
        InvalidFault: transformers does not have this network.
    """
    parts = (model.backbone.name, model.decoder.name)
    if parts == ("mit", "segformer"):
        written = segformer.from_ours(state, model, title=TITLE)
        theirs, ours = segformer_spelled_out(read(written).model), segformer_spelled_out(model)
    elif parts == ("swin", "upernet"):
        written = upernet.from_ours(state, model, title=TITLE)
        theirs, ours = upernet_spelled_out(read(written).model), upernet_spelled_out(model)
    else:
        raise InvalidFault(
            f"{TITLE} has no {model.decoder.name} on {model.backbone.name} that segbench could write.",
            next="segbench weights convert --help",
        )
    check_same_network(theirs, ours, title=TITLE)
    return written


def beside(model: ModelSpec, classes: Sequence[str]) -> dict[str, str]:
    """What lies beside the weights so that ``from_pretrained`` takes the folder: file name to content.

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


def _segformer(state: State) -> Foreign:
    tensors = segformer.to_ours(state)
    classes = state["decode_head.classifier.weight"].shape[0]
    return segformer_of(tensors, classes, family="huggingface", title=TITLE, variant="hf", notes=(_SQUARE,))


def _upernet(state: State) -> Foreign:
    known, indices = without_indices(state)
    unused = tuple(name for name in known if name.startswith(upernet.UNUSED))
    tensors = upernet.to_ours({name: tensor for name, tensor in known.items() if name not in set(unused)})
    classes = state["decode_head.classifier.weight"].shape[0]
    return upernet_of(
        tensors, classes, family="huggingface", title=TITLE, dropped=(*indices, *unused), notes=(_SQUARE,)
    )
