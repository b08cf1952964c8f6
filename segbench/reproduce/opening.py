"""Opening of the checkpoint of a job: segbench's, another project's, or the tensors of the user's own network."""

from segbench.checkpoints.loaded_model import LoadedModel, open_model, open_own_network

from .job import CheckpointReference


def open_reference(reference: CheckpointReference) -> LoadedModel:
    """Open a checkpoint under the conventions of its project.

    Raises:
        UsageFault, MissingFault, InvalidFault: as of ``segbench.checkpoints.loaded_model``.
    """
    path = reference.path
    if reference.code is not None:
        return open_own_network(path, reference.code, reference.num_classes, averaged=reference.averaged)
    return open_model(path, family=reference.family, averaged=reference.averaged, allow_partial=reference.allow_partial)
