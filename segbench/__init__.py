"""segbench: does a published segmentation number hold, here, and if not, why?

From Python::

    import segbench

    segbench.reproduce("contextrast-table6", budget="smoke").frame()  # run a table
    segbench.report("contextrast-table6").frame()  # its verdicts so far
    segbench.evaluate("last.safetensors", dataset="camvid").frame()  # score a checkpoint
    model = segbench.load("last.safetensors")  # a network with its preprocessing
    logits = model(model.preprocess(image))
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .reproduce.api import evaluate as evaluate
    from .reproduce.api import load as load
    from .reproduce.api import reproduce as reproduce
    from .results.report import report as report

__version__ = "0.1.0"
__all__ = ["__version__", "evaluate", "load", "report", "reproduce"]

_HOMES = {"evaluate": ".reproduce.api", "load": ".reproduce.api", "report": ".results.report"}


def __getattr__(name: str) -> object:
    """Import a function of the Python API when it is first used; ``import segbench`` costs nothing."""
    if name == "reproduce":  # the package itself can be called
        return importlib.import_module(".reproduce", __name__)
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
