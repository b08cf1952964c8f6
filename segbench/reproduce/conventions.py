"""Conventions in force for a checkpoint: for its record, and as deviations from its file."""

from typing import Any

from segbench.checkpoints.conventions import Convention
from segbench.checkpoints.loaded_model import LoadedModel
from segbench.core.spec import EvaluationSpec
from segbench.recipe import deviations
from segbench.recipe.deviations import Deviation
from segbench.recipe.phrases import phrase
from segbench.recipe.protocol import Protocol

_INPUT = ("channels", "mean", "std")


def convention_of(model: LoadedModel) -> Convention:
    """Return the conventions in force, every field set."""
    input = model.input
    return Convention(input.channels, input.mean, input.std, model.align_corners)


def checkpoint_spec(model: LoadedModel) -> dict[str, Any]:
    """Return a record's description of a checkpoint: its origin, and the conventions in force if they are changed."""
    changed = (model.input, model.align_corners) != model.declared
    if model.header is not None and not changed:
        return model.about
    matched, wanted = model.matched
    conventions = {"input": model.input.model_dump(mode="json"), "align_corners": model.align_corners}
    return {**model.about, "matched": matched, "wanted": wanted, "in_force": conventions}


def checkpoint_deviations(
    model: LoadedModel, spec: EvaluationSpec, published: EvaluationSpec | None
) -> list[Deviation]:
    """Return the differences from the file's conventions, a complete checkpoint and the published protocol.

    Args:
        model: network under the conventions in force.
        spec: protocol.
        published: protocol of the published figure; None if there is none to compare with.
    """
    found: list[Deviation] = []
    input, align = model.declared
    pairs = [(f"model.input.{name}", getattr(input, name), getattr(model.input, name)) for name in _INPUT]
    pairs.append(("model.align_corners", align, model.align_corners))
    for path, theirs, ours in pairs:
        if theirs != ours:
            theirs, ours = ([*each] if isinstance(each, tuple) else each for each in (theirs, ours))
            found.append(Deviation(path, theirs, ours, True, phrase(path, theirs, ours)))
    matched, wanted = model.matched
    if matched < wanted:
        says = f"{wanted - matched:,} of {wanted:,} tensors of the network are not in the file and were left at random"
        found.append(Deviation("checkpoint.tensors", wanted, matched, True, says))
    if published is not None:
        # Of the same data, as it was read here: only the protocol is compared.
        theirs_spec = published.model_copy(update={"data": spec.data, "absent": spec.absent})
        found += deviations.between(Protocol(evaluation=theirs_spec), Protocol(evaluation=spec))
    return found
