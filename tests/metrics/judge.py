"""The Cityscapes benchmark's own evaluator, where it is installed."""

import importlib
from types import ModuleType

import numpy as np
import pytest


def evaluator() -> ModuleType:
    """``evalPixelLevelSemanticLabeling``, told to be quiet and to write nothing; skips the test without it."""
    if not hasattr(np, "in1d"):  # numpy 2.4 has taken the name away
        setattr(np, "in1d", np.isin)  # noqa: B010
    pytest.importorskip("cityscapesscripts", exc_type=ImportError)
    official = importlib.import_module("cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling")
    official.args.quiet, official.args.JSONOutput = True, False
    return official
