"""Short names of networks for tables and plans, without torch."""

from pydantic import ValidationError

from segbench.core import registry
from segbench.core.spec import Choice, ModelSpec


def model_label(spec: ModelSpec) -> str:
    """Return the usual name of a network, e.g. ``HRNetV2-W48 (concat)``.

    If backbone or decoder is not registered, has invalid options or no ``label()``, return the recipe's names, e.g.
    ``swin-x + upernet``.
    """
    backbone = _label("backbone", spec.backbone)
    decoder = _label("decoder", spec.decoder)
    if backbone is None or decoder is None:
        return f"{spec.backbone.name} + {spec.decoder.name}"
    return f"{backbone} ({decoder})"


def _label(kind: str, choice: Choice) -> str | None:
    if not registry.is_registered(kind, choice.name):
        return None
    try:
        options = registry.chosen(kind, choice)
    except ValidationError:
        return None
    label = getattr(options, "label", None)
    return None if label is None else str(label())
