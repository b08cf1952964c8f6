"""Opening of checkpoints: segbench's, another project's, or the tensors of the user's own network."""

from pathlib import Path

from segbench.checkpoints.loaded_model import LoadedModel, open_other, open_own_network, open_weights
from segbench.checkpoints.read import FileKind, identify
from segbench.core.errors import UsageFault
from segbench.reproduce.job import CheckpointReference

from .recognise import num_outputs
from .request import HELP, EvalRequest

_OF_OTHERS = {"--family": "family", "--ema": "averaged", "--allow-partial": "allow_partial"}


def reference_to(path: Path, request: EvalRequest) -> CheckpointReference:
    """Return how a file is opened for a request.

    Raises:
        UsageFault: options that a file of segbench itself ignores; or the classes of the user's own network are
            not known.
    """
    own = request.model is not None
    if not own and identify(path) is FileKind.WEIGHTS:
        given = [flag for flag, value in _OF_OTHERS.items() if getattr(request, value)]
        if given:
            fault = f"{path.name} is of segbench itself and cannot be combined with {' and '.join(given)}."
            raise UsageFault(fault, next=HELP)
    return CheckpointReference(
        path,
        request.family,
        request.model,
        num_outputs(request) if own else 0,
        request.averaged,
        request.allow_partial,
    )


def open_reference(reference: CheckpointReference) -> LoadedModel:
    """Open a checkpoint under the conventions of its project.

    Raises:
        UsageFault, MissingFault, InvalidFault: as of ``segbench.checkpoints.loaded_model``.
    """
    path = reference.path
    if reference.code is not None:
        return open_own_network(path, reference.code, reference.num_classes, averaged=reference.averaged)
    if identify(path) is FileKind.WEIGHTS:
        return open_weights(path)
    return open_other(path, family=reference.family, averaged=reference.averaged, allow_partial=reference.allow_partial)
