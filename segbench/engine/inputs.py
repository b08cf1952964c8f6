"""Results of earlier stages that a stage starts from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from segbench.checkpoints.weights_file import build_from_weights
from segbench.core.errors import InvalidFault
from segbench.core.spec import StageSpec
from segbench.methods.build import needed_stages
from segbench.models.segmentor import Segmentor


@dataclass(frozen=True)
class StageInputs:
    """Files of earlier stages.

    Attributes:
        weights: weights that the network starts from; None: the stage's initial weights.
        labels: folders of the label sets of the streams whose labels come from an earlier stage, by stream.
        networks: weights of earlier stages by stage name; a method takes those that it needs.
    """

    weights: Path | None = None
    labels: Mapping[str, Path] = field(default_factory=dict)
    networks: Mapping[str, Path] = field(default_factory=dict)


NO_INPUTS = StageInputs()


def open_networks(stage: StageSpec, inputs: StageInputs) -> dict[str, Segmentor]:
    """Open the networks of the earlier stages that the method needs, in evaluation mode and without gradients.

    Raises:
        InvalidFault: a stage is not among the inputs, or its file does not fit its header.
        MissingFault: a file is missing.
    """
    names = needed_stages(stage)
    missing = [name for name in names if name not in inputs.networks]
    if missing:
        known = ", ".join(map(repr, inputs.networks)) or "none"
        raise InvalidFault(
            *(
                f"stage {stage.name!r}: its method needs the stage {name!r}; stages before it: {known}."
                for name in missing
            ),
            next="segbench list",
        )
    return {name: build_from_weights(inputs.networks[name])[0].requires_grad_(False) for name in names}
