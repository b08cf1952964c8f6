"""Networks of numbered stages and blocks: their modules by name, their shape, and whether a project has them."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

from pydantic import ValidationError

from segbench.core.errors import InvalidFault
from segbench.core.spec import Choice, ModelSpec
from segbench.models.backbones.mit.options import Options as MitOptions
from segbench.models.backbones.swin.options import Options as SwinOptions

from .dilated_resnet import count
from .family import State
from .renaming import Pair

STAGES = 4
EncoderOptions = TypeVar("EncoderOptions", MitOptions, SwinOptions)


def depths_of(state: State, blocks: str) -> tuple[int, ...]:
    """How many blocks each of the four stages has.

    Args:
        state: names to tensors.
        blocks: what the names of a stage's blocks begin with, written as the pairs of `written_out`.

    Raises:
        KeyError: a stage has none.
    """
    return tuple(count(state, _numbered(blocks, stage)) for stage in range(STAGES))


def written_out(pairs: Iterable[Pair], depths: Sequence[int]) -> tuple[Pair, ...]:
    """Pairs of modules, a pair for each stage and block that they speak of.

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


def check_parts(model: ModelSpec, *, backbone: str, decoder: str, title: str) -> None:
    """Refuse a network of other parts, which the project called ``title`` lacks.

    Raises:
        InvalidFault: it is of other parts.
    """
    if (model.backbone.name, model.decoder.name) != (backbone, decoder):
        raise InvalidFault(
            f"{title} has no {model.decoder.name} on {model.backbone.name} that segbench could write.",
            next="segbench weights convert --help",
        )


def encoder_options(kind: type[EncoderOptions], model: ModelSpec) -> EncoderOptions:
    """Options of a network's backbone, which is of this kind.

    Raises:
        InvalidFault: there can be no such network.
    """
    try:
        return kind.model_validate(model.backbone.options)
    except ValidationError as error:
        said = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise InvalidFault(f"There is no {model.backbone.name} of its sizes: {said}.", next="segbench list") from error


def spelled_out(model: ModelSpec, options: MitOptions | SwinOptions) -> ModelSpec:
    """The same network, its stages in numbers and not as the name of a size; ``options`` are those of its backbone."""
    size = type(options).model_fields["size"].default
    shape = {**model.backbone.options, **options.shape()._asdict(), "size": size}
    return model.model_copy(update={"backbone": Choice(name=model.backbone.name, options=shape)})


def _numbered(text: str, stage: int, block: int = 0) -> str:
    return text.format(stage=stage, number=stage + 1, block=block)
