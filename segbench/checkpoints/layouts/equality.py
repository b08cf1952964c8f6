"""Check that the network read from a written file is the one that it was written from."""

from typing import Any

from segbench.core import registry
from segbench.core.errors import InvalidFault
from segbench.core.spec import Choice, ModelSpec

# Options that only matter in training or for its initialisation.
_TRAINING = {
    "aux_dropout", "bn_momentum", "contrast_layers", "drop_path", "dropout", "dropout_of", "frozen_norm", "init",
    "init_std", "lr_factor",
}  # fmt: skip


def check_same_network(theirs: ModelSpec, ours: ModelSpec, *, title: str, settings: tuple[str, ...] = ()) -> None:
    """Raise if a project would compute something else with some weights than segbench.

    Args:
        theirs: the project's network with these weights.
        ours: segbench's network with them.
        title: the project.
        settings: options that are free there, whatever the weights, such as ``align_corners``.

    Raises:
        InvalidFault: one line for each option that differs.
    """
    wanted, offered = _computing(ours), _computing(theirs)
    faults = [
        f"{title} has {name} {offered.get(name)!r} where this network has {wanted.get(name)!r}."
        for name in sorted((wanted.keys() | offered.keys()) - set(settings))
        if wanted.get(name) != offered.get(name)
    ]
    if faults:
        raise InvalidFault(*faults, next="segbench list")


def _computing(model: ModelSpec) -> dict[str, Any]:
    """Return all options that determine what the network computes, by name."""
    return {
        "align_corners": model.align_corners,
        **_options("backbone", model.backbone),
        **_options("decoder", model.decoder),
    }


def _concat(options: dict[str, Any]) -> dict[str, Any]:
    """Fill in the options that follow from the kernel: the 1x1 head has an activation, and a bias after it."""
    is_1x1 = options["head"] == "conv1x1"
    implied = ("relu", "classifier_bias")
    return {name: is_1x1 if name in implied and value is None else value for name, value in options.items()}


def _options(kind: str, choice: Choice) -> dict[str, Any]:
    found = registry.chosen(kind, choice).model_dump()
    if (kind, choice.name) == ("decoder", "concat"):
        found = _concat(found)
    absent = "aux_" if found.get("auxiliary") is False else None
    kept = {
        f"{kind}.{name}": value
        for name, value in found.items()
        if name not in _TRAINING and not (absent and name.startswith(absent))
    }
    return {kind: choice.name, **kept}
