"""Networks of numbered stages and blocks: names of their modules, their shape, and support in a project."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

from pydantic import ValidationError

from segbench.core.errors import InvalidFault
from segbench.core.spec import Choice, ModelSpec
from segbench.models.backbones.mit.options import Options as MitOptions
from segbench.models.backbones.swin.options import Options as SwinOptions

from ..family import StateDict
from .renaming import Pair
from .resnet import count_modules

STAGES = 4
EncoderOptions = TypeVar("EncoderOptions", MitOptions, SwinOptions)


def stage_depths(state: StateDict, blocks: str) -> tuple[int, ...]:
    """Count the blocks of each of the four stages.

    Args:
        state: names to tensors.
        blocks: prefix of the blocks of a stage, with placeholders as in `expand_stages`.

    Raises:
        KeyError: a stage has none.
    """
    return tuple(count_modules(state, _numbered(blocks, stage)) for stage in range(STAGES))


def expand_stages(pairs: Iterable[Pair], depths: Sequence[int]) -> tuple[Pair, ...]:
    """Expand pairs of module names with placeholders into one pair for each stage and block.

    Args:
        pairs: with ``{stage}`` for a stage's number from 0, ``{number}`` for that from 1, ``{block}`` for a block's.
        depths: blocks of each stage.
    """
    found: dict[Pair, None] = {}
    for theirs, ours in pairs:
        for stage, depth in enumerate(depths):
            for block in range(depth if "{block}" in theirs else 1):
                found[_numbered(theirs, stage, block), _numbered(ours, stage, block)] = None
    return tuple(found)


def check_architecture(model: ModelSpec, *, backbone: str, decoder: str, title: str) -> None:
    """Raise for a network that the project called ``title`` does not have.

    Raises:
        InvalidFault: it has another backbone or decoder.
    """
    if (model.backbone.name, model.decoder.name) != (backbone, decoder):
        raise InvalidFault(
            f"{title} has no {model.decoder.name} on {model.backbone.name} that segbench can write.",
            next="segbench weights convert --help",
        )


def encoder_options(kind: type[EncoderOptions], model: ModelSpec) -> EncoderOptions:
    """Return the options of a network's backbone, which has options of this type.

    Raises:
        InvalidFault: they are invalid.
    """
    try:
        return kind.model_validate(model.backbone.options)
    except ValidationError as error:
        said = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise InvalidFault(f"There is no {model.backbone.name} of its sizes: {said}.", next="segbench list") from error


def with_explicit_stages(model: ModelSpec, options: MitOptions | SwinOptions) -> ModelSpec:
    """Return the network with its stages in numbers instead of the name of a size; ``options`` are its backbone's."""
    size = type(options).model_fields["size"].default
    shape = {**model.backbone.options, **options.shape()._asdict(), "size": size}
    return model.model_copy(update={"backbone": Choice(name=model.backbone.name, options=shape)})


def _numbered(text: str, stage: int, block: int = 0) -> str:
    return text.format(stage=stage, number=stage + 1, block=block)
