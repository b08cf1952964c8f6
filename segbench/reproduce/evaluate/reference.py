"""Reference of a job to the checkpoint that a request names."""

from pathlib import Path

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
